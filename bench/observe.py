"""What observing a run costs: accounts and trace, metrics, TensorBoard, logged answers, and a watcher.

    python bench/observe.py OUT CONFIG.yaml [--workers N] [--rounds N] [--seconds S] [--no-watch]
        [--set K=V ...]

Runs CONFIG twice per round from the same seed: one observes its even steps only, the
other its odd ones (TLT_OBSERVE), so that every step is there observed and unobserved with the same work
to the bit, and a machine that slows down between the two runs counts for both sides alike. A client reads
all events of --watch meanwhile. Prints the ratio of the two times of a step: the Hodges-Lehmann estimate
over all pairs of steps in OUT/pairs.txt, to which every call adds its own, with the 95 % interval of
Wilcoxon's signed-rank test; few steps that something else on the machine slowed down matter little to
these. With one worker also the ratio of the processor time of its process, watch page included, which
does not depend on what else the machine does. Runs are stopped after S seconds."""
import argparse
import math
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import threading
import urllib.request

TLT = os.environ.get("TLT_BIN", "build/tlt")
FIRST_STEP = 3  # before it, sources of drafts and caches are cold


def read_events(url, seen):
    """Everything that a browser with the page open would get."""
    try:
        with urllib.request.urlopen(url + "events", timeout=60) as events:
            while chunk := events.read1(65536):
                seen[0] += len(chunk)
    except OSError:
        pass  # the run is over


def run(args, which, directory, extra):
    """{step: (observed, seconds, processor seconds)}, and the bytes that the watcher got."""
    watch = [] if args.no_watch else ["--watch", "0"]
    p = subprocess.Popen([TLT, "train", args.config, "--run", str(directory), "--workers", str(args.workers), *watch, *extra],
                         text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env={**os.environ, "TLT_OBSERVE": which})
    steps, seen, tail = {}, [0], []
    threading.Timer(args.seconds, lambda: p.poll() is None and p.send_signal(signal.SIGTERM)).start()
    for line in p.stderr:
        tail = [*tail[-5:], line]
        if found := re.match(r"watch: (\S+)", line):
            threading.Thread(target=read_events, args=(found[1], seen), daemon=True).start()
        if found := re.search(r"step (\d+): (\w+), ([\d.]+) s, ([\d.]+) s of processor", line):
            steps[int(found[1])] = found[2] == "observed", float(found[3]), float(found[4])
    p.wait()
    if p.returncode not in (0, 75):
        sys.exit("".join(tail))
    return steps, seen[0]


def pairs(a, b):
    for step in sorted(set(a) & set(b)):
        if step >= FIRST_STEP and a[step][0] != b[step][0]:
            on, off = (a, b) if a[step][0] else (b, a)
            yield on[step][1], off[step][1], on[step][2], off[step][2]


def estimate(logs):
    """Median of the means of all pairs of values, and its 95 % interval."""
    n = len(logs)
    walsh = sorted((a + b) / 2 for i, a in enumerate(logs) for b in logs[i:])
    outer = max(0, round(n * (n + 1) / 4 - 1.96 * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)))
    return statistics.median(walsh), walsh[outer], walsh[-1 - outer]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("config")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--seconds", type=float, default=25)
    p.add_argument("--seed", type=int, default=1, help="of the first round")
    p.add_argument("--no-watch", action="store_true")
    p.add_argument("--set", action="append", default=[])
    args = p.parse_args()
    extra = [x for s in [*args.set, "eval.every=0", "checkpoint.every=0", "steps=1000000"] for x in ("--set", s)]
    args.out.mkdir(parents=True, exist_ok=True)
    times, watched = [], 0
    for r in range(args.seed, args.seed + args.rounds):
        both = []
        for which in ("even", "odd") if r % 2 else ("odd", "even"):
            steps, seen = run(args, which, args.out / f"{r}-{which}", [*extra, "--set", f"seed={r}"])
            both.append(steps)
            watched += seen
        times += pairs(*both)
    with open(args.out / "pairs.txt", "a", encoding="utf-8") as f:
        f.writelines(" ".join(map(str, pair)) + "\n" for pair in times)
    with open(args.out / "pairs.txt", encoding="utf-8") as f:
        times = [tuple(map(float, line.split())) for line in f]
    if len(times) < 3:
        sys.exit(f"{len(times)} pairs of steps: too few; longer runs or shorter steps")
    print(f"{len(times)} pairs of steps of {statistics.median(t[1] for t in times):.3f} s; a watcher got "
          f"{watched / 1e6:.2f} MB")
    for i, what in enumerate(["time", "processor time"][:1 if args.workers > 1 else 2]):
        ratio, low, high = map(math.exp, estimate([math.log(t[2 * i] / t[2 * i + 1]) for t in times]))
        print(f"{what}, observed / unobserved: {ratio:.4f} (95 %: {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
