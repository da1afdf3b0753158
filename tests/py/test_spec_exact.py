"""Speculation changes no token, no log-probability and no weight.

Over a pairwise covering set of draft source, policy, batch, threads, sampling, numerics, prefill
chunk and model: every pair of values of two factors occurs. The list is printed by
`python tests/py/test_spec_exact.py`. TLT_FULL=1: the full product, until 10,000 sequences and every
combination of source, policy and sampling were seen on every model.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_spec_exact.py"""
import itertools
import json
import os
import random

import pytest
from conftest import TINY, read_jsonl, run_tlt
from covering import covering_set
from tiny_models import write_drafter, write_model

FULL = os.environ.get("TLT_FULL") == "1"

FACTORS = {
    "model": ["tiny", "llama", "qwen2", "qwen3"],
    "draft": ["off", "suffix", "eagle", "auto"],
    "policy": ["planner", "beg-mab", "eg", "ucb1", "fixed:1_1_2", "fixed:4_2_8", "fixed:12_4_64"],
    "batch": [1, 5, 64],
    "threads": [1, 2, 3],
    "sampling": ["T0", "T0.6", "T1", "T1.5", "T1 p0.9", "T1 k20", "T1 m0.05"],
    "numerics": ["auto", "portable"],
    "chunk": [3, 512],
}

FLAGS = {"T": "--temperature", "p": "--top-p", "k": "--top-k", "m": "--min-p"}


def sampling_flags(text):
    return list(itertools.chain(*((FLAGS[word[0]], word[1:]) for word in text.split())))


class Models:
    """Model and drafter directories by name, made on first use."""

    def __init__(self, root):
        self.root, self.made, self.wanted = root, {}, {}

    def directory(self, name):
        if name == "tiny":
            return TINY
        if name == "smollm2":
            return os.path.join(os.path.dirname(TINY), "SmolLM2-135M-Instruct")
        if name not in self.made:
            arch, _, number = name.partition("-")
            rng = random.Random(name)
            head_dim = rng.choice([8, 16, 24])
            kv_heads = rng.choice([1, 2])
            shape = {"hidden": rng.choice([32, 40, 56]), "layers": rng.choice([1, 2, 3]), "head_dim": head_dim,
                     "heads": kv_heads * rng.choice([1, 2, 3]), "kv_heads": kv_heads, "inter": rng.choice([64, 72])}
            self.made[name] = write_model(str(self.root / name), arch, int(number or 0) + 5, **shape)
        return self.made[name]

    def drafter(self, name):
        if name == "tiny":
            return TINY + "-drafter"
        key = f"{name}-drafter"
        if key not in self.made:
            self.made[key] = write_drafter(str(self.root / key), self.directory(name), 7)
        return self.made[key]

    def prompts(self, name):
        key = f"{name}-prompts"
        if key not in self.made:
            path, rng = str(self.root / f"{key}.jsonl"), random.Random(3)
            if name in ("tiny", "smollm2"):
                code, out, err = run_tlt("data", "countdown", "--count", 4, "--seed", 11)
                assert code == 0, err
                lines = [json.loads(x)["prompt"] for x in out.splitlines()]
                lines.append(lines[0])
            else:  # the same text over and over, so that there is something to draft
                lines = [[rng.randrange(4, 280) for _ in range(5)] * 4, [9], [7, 8] * 20]
            with open(path, "w", encoding="utf-8") as f:
                for i, prompt in enumerate(lines):
                    print(json.dumps({"id": str(i), "prompt": prompt}), file=f)
            self.made[key] = path
        return self.made[key]

    def run(self, row, samples, tokens):
        out = str(self.root / "out.jsonl")
        flags = ["--draft", row["draft"], "--policy", row["policy"], "--batch", row["batch"], "--threads",
                 row["threads"], "--numerics", row["numerics"], "--prefill-chunk", row["chunk"]]
        if row["draft"] in ("eagle", "auto"):
            flags += ["--drafter", self.drafter(row["model"])]
        code, stats, err = run_tlt("generate", "--model", self.directory(row["model"]), "--prompts",
                                   self.prompts(row["model"]), "--n", samples, "--max-tokens", tokens, "--seed", 7,
                                   "--out", out, "--json", *sampling_flags(row["sampling"]), *flags)
        assert code == 0, err
        with open(out, "rb") as f:
            return f.read(), json.loads(stats)

    def without(self, row, samples, tokens):
        key = (row["model"], row["sampling"], row["numerics"], samples, tokens)
        if key not in self.wanted:
            plain = {**row, "draft": "off", "policy": "planner", "batch": 7, "threads": 1, "chunk": 512}
            self.wanted[key] = self.run(plain, samples, tokens)[0]
        return self.wanted[key]


def total(by_source):
    return sum(sum(by_depth) for by_depth in by_source.values())


@pytest.fixture(scope="module")
def models(tmp_path_factory, tlt, tiny):
    return Models(tmp_path_factory.mktemp("models"))


def test_no_setting_changes_a_token(models):
    drafted = accepted = 0
    for row in covering_set(FACTORS):
        got, stats = models.run(row, 2, 48)
        assert got == models.without(row, 2, 48), row
        if row["draft"] != "off":
            drafted += total(stats["spec"]["drafted"])
            accepted += total(stats["spec"]["accepted"])
    assert drafted > 1000 and accepted > 100, "hardly anything was speculated: nothing was tested"


def test_a_random_drafter_changes_no_token(tmp_path, models):
    models.made["random-drafter"] = write_drafter(str(tmp_path / "drafter"), TINY, 7)
    models.made["random"], models.made["random-prompts"] = TINY, models.prompts("tiny")
    factors = {**FACTORS, "model": ["random"], "draft": ["eagle", "auto"], "policy": ["planner", "eg", "fixed:4_2_8"],
               "sampling": ["T0", "T1"]}
    for row in covering_set(factors):
        assert models.run(row, 2, 48)[0] == models.without({**row, "model": "tiny"}, 2, 48), row


def test_smollm2_speculates_exactly(models, smollm2):
    factors = {**FACTORS, "model": ["smollm2"], "policy": ["planner", "fixed:4_2_8"], "numerics": ["auto"],
               "sampling": ["T0", "T1"], "threads": [1, 2], "batch": [1, 5]}
    for row in covering_set(factors):
        assert models.run(row, 1, 12)[0] == models.without(row, 1, 12), row


@pytest.mark.skipif(not FULL, reason="long version: TLT_FULL=1")
def test_the_full_product_changes_no_token(models):
    names = ["tiny"] + [f"{arch}-{i}" for i in range(7) for arch in ("llama", "qwen2", "qwen3")][:20]
    rng, sequences = random.Random(4), 0
    for name, draft, policy, sampling in itertools.product(names, FACTORS["draft"][1:], FACTORS["policy"],
                                                           FACTORS["sampling"]):
        row = {"model": name, "draft": draft, "policy": policy, "sampling": sampling,
               **{k: rng.choice(FACTORS[k]) for k in ("batch", "threads", "numerics", "chunk")}}
        got, stats = models.run(row, 2, 48)
        assert got == models.without(row, 2, 48), row
        sequences += stats["samples"]
    assert sequences >= 10000


# ---- training ----------------------------------------------------------------------------------

CONFIG = """
model: {model}
seed: 3
steps: {steps}
data: {{task: countdown, count: 8, seed: 5}}
eval: {{every: 2, count: 6, samples: 2}}
rollout: {{prompts: 4, samples: 4, max_tokens: 120, batch: {batch}}}
speculation: {{draft: "{draft}", policy: "{policy}"}}
drafter: {{path: {drafter}}}
algorithm: {{name: {algorithm}}}
optimizer: {{lr: 1.0e-4}}
gradient: {{micro_tokens: 512}}
log: {{rollouts: none}}
"""


def train(tmp_path, models, steps, name, **row):
    config = tmp_path / f"{name}.yaml"
    drafter = models.drafter("tiny") if row["draft"] in ("eagle", "auto") else "null"
    config.write_text(CONFIG.format(model=TINY, steps=steps, drafter=drafter, **row))
    code, out, err = run_tlt("train", config, "--run", tmp_path / name)
    assert code == 0, err
    timed = ("time/", "spec/", "drafter/", "workers/", "mem/", "cost/", "sys/")
    lines = [{k: v for k, v in line.items() if not k.startswith(timed)}
             for line in read_jsonl(tmp_path / name / "metrics.jsonl")]
    return out.decode().strip().splitlines()[-1].split()[-1], lines


@pytest.mark.parametrize("algorithm", ["grpo", "dapo"])
def test_no_setting_changes_a_weight(tmp_path, models, algorithm):
    steps = 12 if FULL else 4  # two epochs: the second drafts from the answers of the first
    want = train(tmp_path, models, steps, "off", draft="off", policy="planner", batch=9, algorithm=algorithm)
    rows = [("suffix", "planner", 3), ("suffix", "fixed:8_2_16", 16), ("eagle", "beg-mab", 5), ("auto", "planner", 1),
            ("auto", "ucb1", 16), ("eagle", "fixed:4_1_5", 2)]
    for i, (draft, policy, batch) in enumerate(rows if FULL or algorithm == "grpo" else rows[1:4]):
        got = train(tmp_path, models, steps, f"run{i}", draft=draft, policy=policy, batch=batch, algorithm=algorithm)
        assert got == want, (draft, policy, batch)


# ---- drafters that are wrong, broken or somebody else's --------------------------------------------


def test_a_drafter_that_breaks_is_dropped_with_one_warning(tmp_path, models):
    broken = write_drafter(str(tmp_path / "broken"), TINY, 3, scale=1e30)
    out = {}
    for draft in ("off", "eagle"):
        path = tmp_path / draft
        flags = ["--drafter", broken, "--policy", "fixed:3_2_6"] if draft == "eagle" else []
        code, _, err = run_tlt("generate", "--model", TINY, "--prompts", models.prompts("tiny"), "--n", 2,
                               "--max-tokens", 40, "--draft", draft, *flags, "--out", path)
        assert code == 0, err
        assert err.count("dropped") == (draft == "eagle"), err
        out[draft] = path.read_bytes()
    assert out["off"] == out["eagle"]


@pytest.mark.parametrize("change, word", [
    ({"hidden_size": 64}, "hidden_size"), ({"vocab_size": 999}, "vocab_size"), ({"num_hidden_layers": 2}, "layers")])
def test_a_drafter_of_another_model_is_refused_before_anything_starts(tmp_path, models, change, word):
    other = write_drafter(str(tmp_path / "other"), TINY, 3, **change)
    out = tmp_path / "out.jsonl"
    code, _, err = run_tlt("generate", "--model", TINY, "--prompt", "1 2 = 3\n", "--drafter", other, "--out", out)
    assert code == 3 and word in err and not out.exists(), err
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(model=TINY, steps=1, draft="auto", policy="planner", batch=4, drafter=other,
                                    algorithm="grpo"))
    code, _, err = run_tlt("train", config, "--run", tmp_path / "run")
    assert code == 3 and word in err, err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_damaged_drafter_is_refused(tmp_path, models):
    good = write_drafter(str(tmp_path / "d"), TINY, 3)
    weights = os.path.join(good, "model.safetensors")
    data = open(weights, "rb").read()
    for damaged in (data[:-10], data[:4], b"", data[:200] + b"\xff" * 8 + data[208:]):
        with open(weights, "wb") as f:
            f.write(damaged)
        code, _, err = run_tlt("generate", "--model", TINY, "--prompt", "1 2 = 3\n", "--drafter", good)
        assert code == 3 and "model.safetensors" in err, err


@pytest.mark.parametrize("flags, word", [
    (["--draft", "often"], "--draft"), (["--policy", "fixed:1_2"], "policy"), (["--policy", "best"], "policy"),
    (["--draft", "eagle"], "drafter"), (["--max-depth", "33"], "--max-depth")])
def test_wrong_settings_are_usage_errors(flags, word):
    code, _, err = run_tlt("generate", "--model", TINY, "--prompt", "x", *flags)
    assert code == 2 and word in err and len(err.strip().splitlines()) == 1, err


if __name__ == "__main__":
    for line in covering_set(FACTORS):
        print("  ".join(f"{k} {v}" for k, v in line.items()))
