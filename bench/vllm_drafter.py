"""A drafter of tlt inside vLLM for CPU: does it load unchanged, and is as much accepted?

    tlt data countdown --count 40 --seed 5 --split eval > prompts.jsonl
    HF_HUB_OFFLINE=1 VLLM_VENV/bin/python bench/vllm_drafter.py MODEL DRAFTER prompts.jsonl [--tlt build/tlt]

Temperature 0, chains of 3, the same prompts as plain text. vLLM runs in this process, tlt as
`tlt drafter eval --temperature 0 --policy fixed:3_1_4`. Prints one JSON object."""
import argparse
import json
import os
import subprocess

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


def vllm_counts(model, drafter, prompts, tokens):
    from vllm import LLM, SamplingParams
    llm = LLM(model, dtype="bfloat16", max_model_len=1024, enforce_eager=True, disable_log_stats=False,
              speculative_config={"method": "eagle", "model": drafter, "num_speculative_tokens": 3})
    llm.generate(prompts, SamplingParams(temperature=0, max_tokens=tokens), use_tqdm=False)
    found = {m.name.rsplit(":", 1)[-1]: getattr(m, "value", getattr(m, "values", None)) for m in llm.get_metrics()
             if "spec_decode" in m.name}
    drafts = found["spec_decode_num_drafts"]
    return {"drafts": drafts, "accept_length": 1 + found["spec_decode_num_accepted_tokens"] / drafts,
            "reached_position": [n / drafts for n in found["spec_decode_num_accepted_tokens_per_pos"]]}


def tlt_counts(program, model, drafter, prompts, tokens):
    out = subprocess.run([program, "drafter", "eval", "--model", model, "--drafter", drafter, "--prompts", prompts,
                          "--temperature", "0", "--samples", "1", "--max-tokens", str(tokens), "--policy",
                          "fixed:3_1_4", "--json"], check=True, capture_output=True)
    found = json.loads(out.stdout)
    rates, reached, at = found["accepted_by_depth"], [], 1.0
    for rate in rates:
        at *= rate
        reached.append(at)
    return {"accept_length": found["accept_length_drafted"], "reached_position": reached}


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "drafter", "prompts"):
        parser.add_argument(name)
    parser.add_argument("--tlt", default="build/tlt")
    parser.add_argument("--max-tokens", type=int, default=128)
    a = parser.parse_args()
    with open(a.prompts, encoding="utf-8") as f:
        texts = [json.loads(line)["prompt"] for line in f]
    theirs = vllm_counts(a.model, a.drafter, texts, a.max_tokens)
    ours = tlt_counts(a.tlt, a.model, a.drafter, a.prompts, a.max_tokens)
    print(json.dumps({"vllm": theirs, "tlt": ours, "ratio": theirs["accept_length"] / ours["accept_length"]}))


if __name__ == "__main__":
    main()
