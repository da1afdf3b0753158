"""Bit for bit: what generation, scoring and training print does not depend on batch, threads,
prefill chunks, prompt sharing or, in `portable`, on the instruction set.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_exact.py"""
import hashlib
import json
import os
import signal
import subprocess
import time

import pytest
from conftest import ROOT, TLT, read_jsonl, run_tlt

FULL = os.environ.get("TLT_FULL") == "1"

CONFIG = """
model: {model}
seed: 3
steps: {steps}
data: {{task: countdown, count: 200, seed: 5}}
eval: {{every: 0}}
rollout: {{prompts: 4, samples: 4, max_tokens: 160, batch: 9}}
algorithm: {{name: {algorithm}}}
optimizer: {{lr: 1.0e-4}}
gradient: {{micro_tokens: 512}}
checkpoint: {{every: 2}}
log: {{rollouts: none}}
"""


def prompts_file(tmp_path, tlt, count=6):
    code, out, err = tlt("data", "countdown", "--count", count, "--seed", 11)
    assert code == 0, err
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(out)
    return path


def generate(tlt, model, prompts, out, *extra, env=None):
    code, _, err = tlt("generate", "--model", model, "--prompts", prompts, "--n", 3, "--max-tokens", 120,
                       "--seed", 7, "--out", out, *extra, env=env)
    assert code == 0, err
    return out.read_bytes()


VARIANTS = [("--batch", 1), ("--batch", 7), ("--batch", 64), ("--threads", 1), ("--threads", 2),
            ("--threads", 3), ("--threads", 16), ("--prefill-chunk", 1), ("--prefill-chunk", 17),
            ("--prefill-chunk", 512)]


@pytest.mark.parametrize("sampling", [(), ("--temperature", 0), ("--temperature", 0.6, "--top-p", 0.9),
                                      ("--temperature", 1.5, "--top-k", 20, "--min-p", 0.02)])
def test_generate_depends_on_nothing_but_the_model(tmp_path, tlt, tiny, sampling):
    prompts = prompts_file(tmp_path, tlt)
    want = generate(tlt, tiny, prompts, tmp_path / "want", *sampling)
    for variant in VARIANTS:
        assert generate(tlt, tiny, prompts, tmp_path / "got", *sampling, *variant) == want, variant


def test_portable_is_the_same_on_every_instruction_set(tmp_path, tlt, tiny, processor):
    prompts = prompts_file(tmp_path, tlt)
    results = {}
    for isa, flag in (("scalar", "sse2"), ("avx2", "avx2"), ("avx512", "avx512bw")):
        if flag in processor:
            results[isa] = generate(tlt, tiny, prompts, tmp_path / isa, "--numerics", "portable",
                                    env={"TLT_ISA": isa})
    if len(results) < 2:
        pytest.skip("this processor has neither AVX2 nor AVX-512")
    assert len(set(results.values())) == 1, results.keys()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_score_equals_rollout_logprobs(tmp_path, tlt, tiny, temperature):
    prompts = prompts_file(tmp_path, tlt)
    generate(tlt, tiny, prompts, tmp_path / "out", "--temperature", temperature)
    samples = read_jsonl(tmp_path / "out")
    with open(tmp_path / "in", "w", encoding="utf-8") as f:
        by_id = {}
        for line in read_jsonl(prompts):
            code, ids, err = tlt("tokenize", "--model", tiny, stdin=line["prompt"].encode())
            assert code == 0, err
            by_id[line["id"]] = json.loads(ids)
        for s in samples:
            print(json.dumps({"prompt": by_id[s["id"]], "tokens": s["tokens"]}), file=f)
    code, _, err = tlt("score", "--model", tiny, "--in", tmp_path / "in", "--out", tmp_path / "scored",
                       "--temperature", temperature)
    assert code == 0, err
    for s, scored in zip(samples, read_jsonl(tmp_path / "scored"), strict=True):
        assert s["logprobs"] == scored["logprobs"]




# ---- training --------------------------------------------------------------------------------


def train(tmp_path, tiny, name, *extra, steps=6, algorithm="grpo", env=None):
    config = tmp_path / f"{name}.yaml"
    config.write_text(CONFIG.format(model=tiny, steps=steps, algorithm=algorithm))
    code, out, err = run_tlt("train", config, "--run", tmp_path / name, *extra, env=env)
    assert code == 0, err
    return out.decode().strip().splitlines()[-1].split()[-1]


@pytest.mark.parametrize("algorithm", ["grpo", "dapo"])
def test_final_weights_do_not_depend_on_threads(tmp_path, tlt, tiny, algorithm):
    steps = 12 if FULL else 4
    want = train(tmp_path, tiny, "t1", "--threads", 1, steps=steps, algorithm=algorithm)
    for threads in (2, 3, 16):
        got = train(tmp_path, tiny, f"t{threads}", "--threads", threads, steps=steps, algorithm=algorithm)
        assert got == want, threads


def deterministic(path):
    timed = ("time/", "spec/", "drafter/", "workers/", "mem/", "cost/", "sys/")
    return [{k: v for k, v in line.items() if not k.startswith(timed)} for line in read_jsonl(path)]


def test_metrics_and_weights_survive_sigkill(tmp_path, tlt, tiny):
    steps = 12
    want = train(tmp_path, tiny, "whole", steps=steps)
    config = tmp_path / "killed.yaml"
    config.write_text(CONFIG.format(model=tiny, steps=steps, algorithm="grpo"))
    command = [TLT, "train", str(config), "--run", str(tmp_path / "killed")]
    metrics = tmp_path / "killed" / "metrics.jsonl"
    killed = 0
    for lines in (3, 6, 9):
        p = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.time() + 120
        while p.poll() is None and time.time() < deadline:
            if metrics.exists() and len(metrics.read_bytes().splitlines()) >= lines:
                break
            time.sleep(0.002)
        time.sleep(0.05 * (hash(str(tmp_path)) % 7) / 7)
        p.send_signal(signal.SIGKILL)
        killed += p.wait() == -signal.SIGKILL
        if "--resume" not in command:
            command.append("--resume")
    assert killed >= 2, "the run ended before it could be killed"
    code, out, err = run_tlt(*command[1:])
    assert code == 0, err
    assert out.decode().strip().splitlines()[-1].split()[-1] == want
    assert deterministic(metrics) == deterministic(tmp_path / "whole" / "metrics.jsonl")


def test_portable_training_is_the_same_on_every_instruction_set(tmp_path, tlt, tiny, processor):
    got = {isa: train(tmp_path, tiny, isa, "--numerics", "portable", steps=2, env={"TLT_ISA": isa})
           for isa, flag in (("avx2", "avx2"), ("avx512", "avx512bw")) if flag in processor}
    if FULL:
        got["scalar"] = train(tmp_path, tiny, "scalar", "--numerics", "portable", steps=2,
                              env={"TLT_ISA": "scalar"})
    if len(got) < 2:
        pytest.skip("this processor has fewer than two vector instruction sets")
    assert len(set(got.values())) == 1, got


def test_final_model_is_the_one_of_the_run(tmp_path, tlt, tiny):
    train(tmp_path, tiny, "run", steps=1)
    final = tmp_path / "run" / "final"
    assert (final / "model.safetensors").stat().st_size > 0
    code, out, err = tlt("check", final)
    assert code == 0, err
    assert hashlib.sha256((final / "tokenizer.json").read_bytes()).hexdigest() == \
        hashlib.sha256(open(os.path.join(tiny, "tokenizer.json"), "rb").read()).hexdigest()
