"""Made-up data for the page of a run (src/report/page/README.md): any number of steps, hostile texts.
Alone: python tests/py/page_data.py KIND OUT.json, KIND one of those in KINDS at the end."""
import json
import math
import random
import sys

STATES = ["other", "decoding", "idle", "drafter", "gradient", "reward", "update", "saving", "waiting", "lending", "reference",
          "eval"]
ROWS = 1500
EXTREMES = ["reward/mean", "completions/mean_length", "entropy", "time/step"]

HOSTILE = [
    '</script><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">',
    "nul \x00 bell \x07 escape \x1b[31mred\x1b[0m delete \x7f next line \x85 tab\tend\r\nnew line",
    "\u202egnp.exe\u202c \u2066isolate\u2069 zero\u200bwidth \ufeff joiner \u200d",
    "\u0634\u0643\u0631\u0627 \u05e9\u05dc\u05d5\u05dd (12 + 30) \u0648\u0627\u0644\u0646\u0647\u0627\u064a\u0629",
    "invalid \ufffd\ufffd bytes, private \ue000, separators \u2028 and \u2029, <!-- &lt;b&gt; ]]>",
    "\U0001f600 \u4e2d\u6587 " + "unbroken" * 60,
]


def step_line(step, steps, workers, rng):
    """One line of metrics.jsonl with the keys of a real run."""
    t = step / max(steps, 1)
    noise = lambda s: rng.gauss(0, s)
    learned = 1 / (1 + math.exp(-6 * (t - 0.35)))
    length = 140 + 60 * learned + noise(6)
    accept = 1.25 + 1.1 * learned + noise(0.05)
    rollout = 4.6 - 1.6 * learned + abs(noise(0.25))
    update = 1.6 + abs(noise(0.06))
    line = {"step": step, "epoch": step * 16 / 2000}
    evaluated = step % max(1, steps // 20) == 0
    if step:
        line |= {"reward/mean": min(1, max(0, 0.16 + 0.62 * learned + noise(0.035))), "reward/std": 0.3 - 0.1 * learned,
                 "frac_reward_zero_std": 0.3 + 0.2 * learned + noise(0.03),
                 "completions/mean_length": length, "completions/min_length": 24 + rng.randrange(8),
                 "completions/max_length": min(400, 330 + rng.randrange(120)),
                 "completions/p50_length": round(length * 0.8), "completions/p90_length": round(length * 1.7),
                 "completions/p95_length": round(length * 2.0), "completions/p99_length": min(400, round(length * 2.6)),
                 "completions/clipped_ratio": max(0, 0.04 - 0.03 * learned + noise(0.006)),
                 "completions/tokens": round(128 * length), "grad_norm": 0.09 + abs(noise(0.01)), "lr": 3e-5,
                 "loss": 0.05 + noise(0.02), "entropy": None if rng.random() < 0.01 else 0.42 - 0.25 * learned + noise(0.01),
                 "kl": 0.02 * learned + abs(noise(0.0008)), "update/approx_kl": abs(noise(0.0006)),
                 "clip_ratio/low_mean": abs(noise(0.0007)), "clip_ratio/high_mean": abs(noise(0.001)),
                 "clip_ratio/region_mean": abs(noise(0.0015)),
                 "time/rollout": rollout, "time/update": update, "time/rollout_tokens_per_second": 128 * length / rollout}
        line |= speculation(accept, learned, rollout)
        line |= {"mem/peak_rss_mb": 410 + 3 * t, "sys/reward_timeouts": 0}
    evaluating = 1.8 if evaluated else 0.0
    if evaluated:
        right = 0.1 + 0.58 * learned + noise(0.01)
        line |= {"eval/accuracy": right, "eval/accuracy_low": right - 0.045, "eval/accuracy_high": right + 0.045,
                 "time/eval": evaluating}
    line |= worker_keys(workers, rollout if step else 0, update if step else 0, evaluating, rng)
    return line


def speculation(accept, learned, rollout):
    steps = 900
    line = {"spec/accept_length": accept, "spec/accept_length_drafted": accept + 0.35, "spec/steps": steps,
            "spec/seconds_plan": 0.01 * rollout, "spec/accept_rate": 0.55 + 0.2 * learned}
    drafted = accepted = 0
    for source, part in (("suffix", 0.5 - 0.2 * learned), ("eagle", 0.4 + 0.2 * learned), ("both", 0.1)):
        for depth in range(1, 9):
            n = round(40000 * part * 0.72 ** (depth - 1))
            right = round(n * (0.72 if source == "both" else 0.45 + 0.2 * learned) * 0.97 ** depth)
            line[f"spec/drafted/{source}/{depth}"], line[f"spec/accepted/{source}/{depth}"] = n, right
            drafted, accepted = drafted + n, accepted + right
    return line | {"spec/drafted": drafted, "spec/accepted": accepted}


def worker_keys(workers, rollout, update, evaluating, rng):
    line = {"workers/count": workers}
    each = []
    for w in range(workers):
        tail = rng.uniform(0.5, 1.0) * rollout * 0.4 if w else 0
        of = dict.fromkeys(STATES, 0.0)
        of |= {"decoding": rollout - tail, "gradient": update * 0.85 + tail * 0.45, "drafter": tail * 0.4,
               "idle": tail * 0.15, "update": update * 0.12, "waiting": update * 0.08, "eval": evaluating,
               "other": 0.03, "saving": 0.02}
        each.append(of)
    for s in STATES:
        line[f"workers/{s}"] = sum(of[s] for of in each)
        for w, of in enumerate(each):
            line[f"workers/{w}/{s}"] = of[s]
    total = sum(sum(of.values()) for of in each)
    return line | {"workers/seconds": total, "time/step": total / workers, "cost/cpu_seconds": total * 0.98, "cost/core_hours": total / 3600,
                   "cost/cpu_seconds_per_token": total / 18000,
                   "workers/idle_fraction": (line["workers/idle"] + line["workers/waiting"]) / max(total, 1e-9)}


def columns_of(lines, rows=ROWS):
    """Columns, thinned to at most so many rows, and what one row stands for."""
    keys = list(dict.fromkeys(k for line in lines for k in line))
    every = -(-len(lines) // rows)
    out = {k: [] for k in keys}
    if every > 1:
        out |= {f"{k}|{end}": [] for k in EXTREMES for end in ("min", "max")}
    for at in range(0, len(lines), every):
        part = lines[at:at + every]
        for k in keys:
            values = [line[k] for line in part if line.get(k) is not None]
            out[k].append(part[-1]["step"] if k == "step" else sum(values) / len(values) if values else None)
            if every > 1 and k in EXTREMES:
                out[f"{k}|min"].append(min(values, default=None))
                out[f"{k}|max"].append(max(values, default=None))
    return out, every


def timeline_step(workers, rng):
    """Spans and curves of one step: worker 0 has the long tail, the others fill the time."""
    rollout, update = 3.2 + rng.random(), 1.5
    out = []
    for w in range(workers):
        spans, at = [], 0.0
        def span(until, state, detail=-1):
            nonlocal at
            spans.append([round(at, 6), round(until, 6), state, detail])
            at = until
        span(0.02, "other")
        end = rollout if w == 0 else rollout * rng.uniform(0.5, 0.8)
        span(end, "decoding")
        group = w
        while at < rollout - 0.05:
            span(min(rollout, at + rng.uniform(0.1, 0.25)), "gradient" if rng.random() < 0.6 else "drafter", group)
            group += workers
        if at < rollout:
            span(rollout, "idle")
        while at < rollout + update * 0.8:
            span(at + rng.uniform(0.08, 0.2), "gradient", group)
            group += workers
        span(max(at + 0.01, rollout + update), "waiting")
        span(rollout + update + 0.2, "update")
        points = [[round(end * i / 120, 5), max(1, round(64 * (1 - (i / 120)) ** 1.4)),
                   round(1.3 + 1.6 * (i / 120) ** 2 + rng.gauss(0, 0.05), 4)] for i in range(120)] + [[round(end, 5), 0, 0]]
        out.append({"worker": w, "seconds": round(rollout + update + 0.2, 6), "spans": spans, "points": points})
    return out


def phases(lines):
    def part(some):
        sums = {s: sum(line[f"workers/{s}"] for line in some) for s in STATES}
        total = sum(sums.values()) or 1
        return {"steps": [some[0]["step"], some[-1]["step"]],
                "rows": [{"name": s, "seconds": v, "share": v / total} for s, v in sums.items()]}
    return part(lines) | {"last": part(lines[-max(1, len(lines) // 10):])}


def samples(steps, hostile, rng):
    out = []
    for step in sorted({1, max(1, steps // 2), steps}):
        for i in range(4):
            right = rng.random() < 0.3 + 0.5 * step / steps
            text = f" try 7 * 6 = 42, 42 + 8 = 50, not 5{i}; try 9 * 6 = 54, 54 - 3 = 5{i}; so (9 * 6) - 3 = 5{i}\nanswer: (9 * 6) - 3"
            if hostile:
                text = HOSTILE[(i + len(out)) % len(HOSTILE)] + text
            pieces = []
            for word in text.split(" "):
                source = rng.choices(".seb", (5, 2, 3, 1))[0]
                piece = word if not pieces else " " + word
                if pieces and pieces[-1][1] == source:
                    pieces[-1][0] += piece
                else:
                    pieces.append([piece, source])
            out.append({"step": step, "rollout": 16 * step + i, "sample": i,
                        "prompt": f"Use 3, 6 and 9 to make 5{i}." + (HOSTILE[i] if hostile else ""), "pieces": pieces,
                        "reward": float(right), "score": float(right), "tokens": 91 + 17 * i,
                        "finish": "stop" if i else "length"})
    return out


def make(steps=40, workers=2, hostile=False, state="done", seed=1, rows=ROWS, timelines=None):
    rng = random.Random(seed)
    lines = [step_line(s, steps, workers, rng) for s in range(steps + 1)]
    columns, every = columns_of(lines, rows)
    kept = sorted({max(1, round(steps * i / 40)) for i in range(timelines or 41)})
    edges = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 400]
    shape = lambda mean: [round(400 * math.exp(-((math.log(e / mean)) / 0.6) ** 2)) for e in edges] + [0]
    sha = lambda: f"{rng.getrandbits(256):064x}"
    data = {
        "format": 1, "live": False,
        "run": {"name": "countdown" + (HOSTILE[0] if hostile else ""), "path": "runs/countdown", "state": state, "step": steps, "steps": steps,
                "reason": "", "tlt": "0.1.0 (a085e81)", "notices": []},
        "config": [["model", "models/tiny-countdown"], ["seed", "1"], ["steps", str(steps)], ["rollout.prompts", "16"],
                   ["rollout.samples", "8"], ["rollout.max_tokens", "400"], ["speculation.draft", "auto"],
                   ["speculation.policy", "planner"], ["algorithm.name", "grpo"], ["algorithm.clip_low", "0.2"],
                   ["algorithm.clip_high", "0.28"], ["optimizer.lr", "3e-05"], ["gradient.micro_tokens", "2048"]],
        "machine": [["processor", "Intel(R) Xeon(R) Processor"], ["cores", "2"], ["memory", "24.7 GB"],
                    ["instruction sets", "AVX2, AVX-512, AVX-512 BF16, AMX"], ["numerics", "avx512bf16"], ["workers", str(workers)]],
        "columns": columns,
        "hashes": [[s, sha(), sha()] for s in range(max(1, steps - 4), steps + 1)],
        "phases": phases(lines),
        "saved": [{"what": "speculation", "seconds": 0.31 * steps, "share": 0.052,
                   "method": "What the same tokens would have cost without drafts, by the measured cost of a step with that many sequences, less what the steps took."},
                  {"what": "idle work", "seconds": 0.42 * steps, "share": 0.071,
                   "method": "Tokens of gradients that were computed before the rollout ended, at the speed of the update."}],
        "lengths": {"edges": edges, "first": shape(60), "middle": shape(90), "last": shape(130)},
        "samples": samples(steps, hostile, rng),
        "timeline": {"steps": kept, "data": {str(s): timeline_step(workers, rng) for s in kept}},
    }
    if every > 1:
        data["thinned"] = every
    if hostile:
        data["run"]["notices"] = ["metrics.jsonl line 17: ends in mid-line, left out", HOSTILE[2], HOSTILE[1]]
        data["config"].append(["data.file", HOSTILE[0]])
    return data


def compare():
    runs = []
    for i, name in enumerate(["draft-auto", "draft-off", "seed-2"]):
        d = make(60, seed=1 + i // 2)
        if i == 1:
            for k in [k for k in d["columns"] if k.startswith("spec/")]:
                del d["columns"][k]
            d["columns"]["time/step"] = [None if v is None else v * 1.25 for v in d["columns"]["time/step"]]
        runs.append({"run": {**d["run"], "name": name, "path": "runs/" + name}, "columns": d["columns"]})
    return {"format": 1, "live": False,
            "compare": {"verdict": "draft-auto and draft-off are bit-identical in all 60 steps. seed-2 differs from draft-auto in step 1: "
                                   "rollout 16, sample 0, token 4.",
                        "notices": [], "head": ["", "draft-auto", "draft-off", "seed-2"],
                        "rows": [["steps", "60", "60", "60"], ["reward, last tenth", "0.774", "0.774", "0.769"],
                                 ["seconds per step", "5.11", "6.39", "5.08"], ["accepted tokens", "2.31", "1", "2.29"],
                                 ["weights", "470af092a5b4", "470af092a5b4", "a51e6cb8b4dc"]]},
            "runs": runs}


KINDS = {
    "small": lambda: make(40),
    "hostile": lambda: make(12, hostile=True, state="stopped"),
    "long": lambda: make(5000, timelines=41),
    "unthinned": lambda: make(5000, rows=10000),
    "workers": lambda: make(20, workers=8),
    "one": lambda: make(1, workers=1),
    "empty": lambda: {"format": 1, "run": {"name": "nothing yet", "state": "running", "step": 0, "steps": 40, "notices": []}},
    "live": lambda: {**make(10, state="running"), "live": True},
    "compare": compare,
}

if __name__ == "__main__":
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump(KINDS[sys.argv[1]](), out)
