"""What observing a run costs: accounts and trace, metrics, TensorBoard, logged answers, and a watcher.

    python bench/observe.py OUT CONFIG.yaml [--workers N] [--rounds N] [--seconds S] [--no-watch]
        [--set K=V ...]

Runs CONFIG twice per round from the same seed: one observes its even steps only, the other its odd ones
(TLT_OBSERVE), so that every step is there observed and unobserved with the same work to the bit. With one
worker the two run at the same time, each with everything it does on a processor of its own, so that what
else the machine does hits both. A client reads all events of --watch meanwhile. Runs are stopped after S
seconds.

Prints the ratio of the two times of a step: the Hodges-Lehmann estimate over all pairs of neighbouring
steps in OUT/ratios.txt, to which every call adds its own (give it a new --seed), with the 95 % interval of
Wilcoxon's signed-rank test; few steps that something else on the machine slowed down matter little to
these. With one worker also the ratio of the processor time of its process, watch page included."""
import argparse
import concurrent.futures
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


def run(args, which, directory, extra, cpu=None):
    """{step: (observed, seconds, processor seconds)}, and the bytes that the watcher got."""
    bind = [] if cpu is None else ["taskset", "-c", str(cpu)]
    watch = [] if args.no_watch else ["--watch", "0"]
    p = subprocess.Popen([*bind, TLT, "train", args.config, "--run", str(directory), "--workers", str(args.workers), *watch, *extra],
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


def run_both(args, r, extra):
    """Both runs of a round, the one first that was second in the round before."""
    order = ("even", "odd") if r % 2 else ("odd", "even")
    cpus = sorted(os.sched_getaffinity(0))
    together = args.workers == 1 and len(cpus) > 1
    with concurrent.futures.ThreadPoolExecutor(2 if together else 1) as pool:
        runs = [pool.submit(run, args, which, args.out / f"{r}-{which}", extra, cpus[i] if together else None)
                for i, which in enumerate(order)]
        return [f.result() for f in runs]


def ratios(a, b):
    """(seconds unobserved, log ratio of seconds, of processor seconds) of every two neighbouring steps: the mean of both,
    in which each run is observed once, so that neither a faster processor nor a slow minute of one run counts."""
    last = max(set(a) & set(b), default=0)
    for step in range(FIRST_STEP, last, 2):
        on, off = (a, b) if a[step][0] else (b, a)
        yield off[step][1], *((math.log(on[step][i] / off[step][i]) + math.log(off[step + 1][i] / on[step + 1][i])) / 2
                              for i in (1, 2))


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
        (a, seen_a), (b, seen_b) = run_both(args, r, [*extra, "--set", f"seed={r}"])
        watched += seen_a + seen_b
        times += ratios(a, b)
    with open(args.out / "ratios.txt", "a", encoding="utf-8") as f:
        f.writelines(" ".join(map(str, t)) + "\n" for t in times)
    with open(args.out / "ratios.txt", encoding="utf-8") as f:
        times = [tuple(map(float, line.split())) for line in f]
    if len(times) < 3:
        sys.exit(f"{2 * len(times)} steps: too few; longer runs or shorter steps")
    print(f"{2 * len(times)} steps of {statistics.median(t[0] for t in times):.3f} s, each both ways; a watcher got "
          f"{watched / 1e6:.2f} MB")
    for i, what in enumerate(["time", "processor time"][:1 if args.workers > 1 else 2]):
        ratio, low, high = map(math.exp, estimate([t[1 + i] for t in times]))
        print(f"{what}, observed / unobserved: {ratio:.4f} (95 %: {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
