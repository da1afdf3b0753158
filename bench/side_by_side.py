"""tlt and its peers in turn on one machine: decode and prefill of one model, medians over rounds.

    python bench/side_by_side.py --model models/SmolLM2-135M-Instruct --rounds 5 \\
        --transformers PYTHON --vllm PYTHON --llama PYTHON --gguf MODEL-bf16.gguf

Each PYTHON is the interpreter of an environment with that peer (bench/README.md). Peers left out are
not run. All sample at T = 1 without filters from distinct prompts; prefill is left out of decode and
computes logits of the last token only."""
import argparse
import collections
import json
import os
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def figures(command):
    """{(what, rows): value} of the JSON lines that a command prints."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    out = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
    rows = {}
    for line in out.splitlines():
        if not line.startswith("{"):
            continue
        r = json.loads(line)
        if r["what"] in ("decode", "prefill", "forward+backward"):
            batch = r.get("batch", r.get("rows", 0)) if r["what"] == "decode" else 0
            rows[r["what"], batch] = r.get("tokens_per_s", r.get("median"))
    return rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True)
    p.add_argument("--tlt", default="build/tlt")
    p.add_argument("--rounds", type=int, default=5)
    for name in ("transformers", "vllm", "llama", "gguf"):
        p.add_argument("--" + name)
    a = p.parse_args()
    commands = {"tlt": [[a.tlt, "bench", what, "--model", a.model, "--rounds", "1", "--json"]
                        for what in ("generate", "train")]}
    if a.transformers:
        commands["transformers"] = [[a.transformers, f"{HERE}/peers/transformers_generate.py", a.model]]
    if a.vllm:
        commands["vllm"] = [[a.vllm, f"{HERE}/peers/vllm_generate.py", a.model]]
    if a.llama:
        commands["llama.cpp"] = [[a.llama, f"{HERE}/peers/llama_cpp_generate.py", a.gguf]]
    seen = collections.defaultdict(list)
    for r in range(a.rounds):
        for peer, list_of in commands.items():
            for command in list_of:
                for key, value in figures(command).items():
                    seen[key, peer].append(value)
        print(f"round {r + 1} of {a.rounds} done", flush=True)
    keys = sorted({k for k, peer in seen if peer == "tlt"})
    print(f"{'work':22}" + "".join(f"{peer:>14}" for peer in commands) + f"{'tlt / best':>12}")
    for key in keys:
        medians = {peer: statistics.median(seen[key, peer]) for peer in commands if (key, peer) in seen}
        best = max([v for peer, v in medians.items() if peer != "tlt"], default=None)
        row = f"{key[0]} {key[1] or '':<4}"
        row = f"{row:22}" + "".join(f"{medians.get(peer, float('nan')):14.0f}" for peer in commands)
        print(row + (f"{medians['tlt'] / best:12.2f}" if best else ""))


main()
