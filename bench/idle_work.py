"""What idle work brings to a step, and what it costs workers that decode.

    python bench/idle_work.py steps OUT CONFIG.yaml [--steps N] [--first N] [--only I,J] [--rounds N] [--set K=V ...]
    python bench/idle_work.py slowdown OUT CONFIG.yaml [--steps N] [--set K=V ...]

`steps` runs the same run in turn with everything on (two workers), without lending of cores, without idle
work, and with speculation off too as one worker with two threads and as two workers with one, and prints where the
seconds of a step went, from step --first on (2: the first has cold sources). --only: those of these, by number. Bits
must agree. `slowdown` runs two workers whose idle work rests every other
second (TLT_IDLE_TOGGLE) and compares the tokens per second of the worker that decodes in neighbouring
windows of about a second, with a 95 % interval over the pairs."""
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

TLT = os.environ.get("TLT_BIN", "build/tlt")
OFF = ["--set", "speculation.draft=off"]
NO_IDLE = ["--set", "drafter.idle_order=[]", "--set", "drafter.train=off"]
SETTINGS = {
    "all on, 2 workers": ["--workers", "2"],
    "no lending, 2 workers": ["--workers", "2", "--set", "drafter.idle_order=[gradient, drafter]"],
    "no idle work, 2 workers": ["--workers", "2", *NO_IDLE],
    "all off, 2 workers": ["--workers", "2", *OFF, *NO_IDLE],
    "all off, 1 worker, 2 threads": ["--workers", "1", *OFF, *NO_IDLE],
}
STATES = ["decoding", "gradient", "drafter", "update", "lending", "idle", "waiting", "reward", "saving", "other"]


def train(config, run, extra, env=None):
    done = subprocess.run([TLT, "train", config, "--run", str(run), *extra], text=True, capture_output=True,
                          env={**os.environ, **(env or {})})
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.strip().splitlines()[-1].split()[-1]


def lines_of(run):
    return [json.loads(line) for line in open(run / "metrics.jsonl") if '"step"' in line]


def steps_table(args, extra):
    out, seconds, weights = pathlib.Path(args.out), {}, {}
    chosen = {name: (i, how) for i, (name, how) in enumerate(SETTINGS.items()) if i in args.only}
    rows = {name: {} for name in chosen}
    for r in range(args.rounds):
        for name, (i, how) in chosen.items():
            run = out / f"{i}-{r}"
            weights[name] = train(args.config, run, [*how, *extra])
            steps = [x for x in lines_of(run) if x["step"] >= args.first]
            seconds.setdefault(name, []).append(sum(x["time/step"] for x in steps) / len(steps))
            for key in ["time/rollout", "time/update", "workers/idle_fraction", "workers/early_tokens",
                        "spec/accept_length", *(f"workers/{s}" for s in STATES)]:
                values = [x.get(key) or 0 for x in steps]
                rows[name].setdefault(key, []).append(sum(values) / len(values))
    if len(set(weights.values())) != 1:
        sys.exit(f"final weights differ: {weights}")
    best = min((statistics.median(seconds[n]) for n in chosen if n.startswith("all off")), default=math.nan)
    print(f"per step, median of {args.rounds} runs; weights agree: {next(iter(weights.values()))[:16]}")
    for name in chosen:
        s = statistics.median(seconds[name])
        part = {k: statistics.median(v) for k, v in rows[name].items()}
        print(f"\n{name}: {s:.2f} s, {best / s:.2f}x the best off setting "
              f"(runs {', '.join(f'{x:.2f}' for x in seconds[name])})")
        print("  " + "  ".join(f"{k.split('/')[1]} {part[k]:.3f}" for k in list(part)[:5]))
        print("  worker seconds: " + "  ".join(f"{x} {part[f'workers/{x}']:.2f}" for x in STATES))


def load(run):
    """By worker: spans (begin, end, state) and points (second, sequences, engine steps per second)."""
    spans, points = {}, {}
    for e in json.load(open(run / "trace.json"))["traceEvents"]:
        if e["ph"] == "X" and e["cat"] == "work":
            spans.setdefault(e["tid"] - 1, []).append((e["ts"] / 1e6, (e["ts"] + e["dur"]) / 1e6, e["name"]))
        if e["ph"] == "C":
            points.setdefault(e["tid"] - 1, {}).setdefault(e["ts"] / 1e6, {}).update(e["args"])
    return spans, {w: [(t, v["sequences"], v["steps per second"]) for t, v in sorted(p.items())]
                   for w, p in points.items()}


def windows(spans, points):
    """(begin, worked, speed by sequences) of every stretch in which one worker decoded all the time while
    the other, idle, either worked or rested."""
    for me, other in ((0, 1), (1, 0)):
        for begin, end, name in spans.get(other, []):
            if name not in ("idle", "gradient", "drafter") or end - begin < 0.3:
                continue
            decoding = sum(min(e, end) - max(b, begin) for b, e, n in spans.get(me, [])
                           if n == "decoding" and b < end and e > begin)
            if decoding < 0.99 * (end - begin):
                continue
            speed = {}
            for (t, n, v), (u, _, _) in zip(points[me], points[me][1:]):
                if t >= begin and u <= end and v > 0 and n == round(n):
                    speed.setdefault(n, []).append(v)
            yield begin, name != "idle", speed


def slowdown(args, extra):
    run = pathlib.Path(args.out) / "toggle"
    if not run.exists():
        train(args.config, run, ["--workers", "2", *extra], {"TLT_IDLE_TOGGLE": "1"})
    found, logs = sorted(windows(*load(run)), key=lambda w: w[0]), []
    for (_, worked, a), (_, worked_b, b) in zip(found, found[1:]):
        both = set(a) & set(b)
        if worked == worked_b or not both:
            continue
        on, off = (a, b) if worked else (b, a)
        n = max(both, key=lambda n: len(a[n]) + len(b[n]))
        logs.append(math.log(statistics.median(on[n]) / statistics.median(off[n])))
    if len(logs) < 2:
        sys.exit(f"{len(found)} windows, {len(logs)} pairs: too few; longer answers or more steps")
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    print(f"{len(found)} windows, {len(logs)} neighbouring pairs with as many sequences: decoding runs at "
          f"{math.exp(mean):.3f}x while the other worker works "
          f"(95 %: {math.exp(mean - 1.96 * error):.3f} to {math.exp(mean + 1.96 * error):.3f})")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["steps", "slowdown"])
    p.add_argument("out")
    p.add_argument("config")
    p.add_argument("--steps", type=int)
    p.add_argument("--first", type=int, default=2)
    p.add_argument("--only", type=lambda s: [int(x) for x in s.split(",")], default=list(range(len(SETTINGS))))
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--set", action="append", default=[])
    args = p.parse_args()
    extra = [x for s in args.set for x in ("--set", s)]
    if args.steps:
        extra += ["--set", f"steps={args.steps}"]
    os.makedirs(args.out, exist_ok=True)
    steps_table(args, extra) if args.what == "steps" else slowdown(args, extra)


if __name__ == "__main__":
    main()
