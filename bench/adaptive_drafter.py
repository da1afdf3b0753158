#!/usr/bin/env python3
"""Accepted length over an RL run under four drafters, on the same tokens.

  none       no learned drafter: suffix only
  frozen     trained once on the first policy, then left alone
  adaptive   the same drafter, trained on while the run goes on
  scratch    a run that starts with no learned drafter and trains one

All runs of a seed draw the same tokens and end in the same weights (checked), so that only the drafter
differs. The policy of speculation is fixed by default, since the planner drafts only where that pays:
what it accepts per step also says what it chose to draft. Runs that are already there are not repeated,
and with --seconds the run at work is stopped and saved after that time: call again to go on.
A curve may name its own share of the step's time, which shows when further training stops helping.

    python bench/adaptive_drafter.py OUT [--policy planner] [--seeds 3] [--steps 60] [--share 0.3]
    python bench/adaptive_drafter.py OUT --curves frozen,adaptive@0.01,adaptive@0.1,adaptive@1
"""
import argparse
import concurrent.futures
import json
import math
import os
import statistics
import subprocess
import sys
import time

CURVES = ("none", "frozen", "adaptive", "scratch")
STOPPED = 75  # exit code of a run that was asked to stop and saved
LAST = 10  # steps that the interval is over
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def kind(curve):
    return curve.partition("@")[0]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--tlt", default=os.environ.get("TLT_BIN", "build/tlt"))
    p.add_argument("--model", default="models/tiny-countdown")
    p.add_argument("--task-options", default="", help="key=value,... of the task countdown")
    p.add_argument("--policy", default="fixed:4_1_5")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--first-seed", type=int, default=1)
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--share", type=float, default=0.3, help="drafter.min_share: stands for idle time")
    p.add_argument("--lr", type=float, default=1e-4, help="of the policy")
    p.add_argument("--prompts", type=int, default=8)
    p.add_argument("--samples", type=int, default=8)
    p.add_argument("--max-tokens", type=int, default=300)
    p.add_argument("--offline", default="--count 800 --samples 4 --epochs 2 --lr 0.004",
                   help="how the first drafter is trained")
    p.add_argument("--set", action="append", default=[], help="further settings of the runs")
    p.add_argument("--curves", default=",".join(CURVES), help="of these, adaptive@SHARE and scratch@SHARE")
    p.add_argument("--jobs", type=int, default=2, help="runs at a time, each with one thread")
    p.add_argument("--seconds", type=float, default=math.inf, help="of this call, about")
    p.add_argument("--no-run", action="store_true", help="only read what is there")
    a = p.parse_args()
    a.curves = a.curves.split(",")
    for c in a.curves:
        if kind(c) not in CURVES:
            p.error(f"--curves: got {c}, expected {', '.join(CURVES)}, with @SHARE where a drafter is trained")
    a.until = time.monotonic() + a.seconds
    return a


def call(a, command):
    """Run to the end, or ask it to save and stop when the time is over."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        errors = child.communicate(timeout=None if math.isinf(a.until) else max(0, a.until - time.monotonic()))[1]
    except subprocess.TimeoutExpired:
        child.terminate()
        errors = child.communicate()[1]
    if child.returncode and child.returncode != STOPPED:
        sys.exit(f"{' '.join(command)}: exit {child.returncode}\n{errors[-2000:]}")


def first_drafter(a):
    path = os.path.join(a.out, "drafter")
    if not os.path.exists(os.path.join(path, "hot_tokens.json")):
        task = ["--task", "countdown"]
        if a.task_options:
            task += ["--task-options", a.task_options]
        call(a, [a.tlt, "drafter", "train", "--model", a.model, "--out", path, *task,
              "--max-tokens", str(a.max_tokens), "--seed", "100", *a.offline.split()])
    return path


def settings(a, curve, seed):
    drafter = os.path.join(a.out, "drafter")
    options = "{" + a.task_options.replace("=", ": ").replace(",", ", ") + "}"
    path = drafter if kind(curve) in ("frozen", "adaptive") else "null"
    train = "idle" if kind(curve) in ("adaptive", "scratch") else "off"
    share = curve.partition("@")[2] or a.share
    return [f"seed={seed}", f"data.options={options}", f"drafter.path={path}", f"drafter.train={train}",
            f"drafter.min_share={share}", *a.set]


def write_config(a):
    path = os.path.join(a.out, "run.yaml")
    if a.no_run:
        return path
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"model: {a.model}\nsteps: {a.steps}\ndata: {{task: countdown, count: 4000, seed: 11}}\n"
                f"eval: {{every: 0}}\nrollout: {{prompts: {a.prompts}, samples: {a.samples}, "
                f"max_tokens: {a.max_tokens}}}\nspeculation: {{policy: \"{a.policy}\"}}\n"
                f"optimizer: {{lr: {a.lr:.10f}}}\ncheckpoint: {{every: 0}}\nlog: {{rollouts: all}}\n")
    return path


def directory(a, curve, seed):
    return os.path.join(a.out, a.policy.replace(":", "-"), f"{curve}-{seed}")


def run(a, config, curve, seed):
    path = directory(a, curve, seed)
    if not os.path.exists(os.path.join(path, "final", "config.json")) and not a.no_run and time.monotonic() < a.until:
        sets = [x for s in settings(a, curve, seed) for x in ("--set", s)]
        resume = ["--resume"] if os.path.exists(os.path.join(path, "config.yaml")) else []
        call(a, [a.tlt, "train", config, "--run", path, "--threads", "1", *resume, *sets])
    if not os.path.exists(os.path.join(path, "metrics.jsonl")):
        return None
    with open(os.path.join(path, "metrics.jsonl"), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def mean(x):
    return sum(x) / len(x) if x else math.nan


def interval(x):
    """Mean and 95 % interval of few values, by Student's t."""
    if len(x) < 2:
        return mean(x), math.nan, math.nan
    half = T95.get(len(x) - 1, 1.96) * statistics.stdev(x) / math.sqrt(len(x))
    return mean(x), mean(x) - half, mean(x) + half


def column(lines, key, first, last):
    return mean([m[key] for m in lines if first < m["step"] <= last and m.get(key) is not None])


def tlt_lines(a, *command, text=None):
    done = subprocess.run([a.tlt, *command], input=text, capture_output=True, text=True, check=True)
    return done.stdout


def kl_to_start(a, curve, seed, step):
    """Sampled log-ratio of the policy to the first one, nats per answer token, over the answers of a step."""
    top = directory(a, curve, seed)
    with open(os.path.join(top, "rollouts", f"step-{step}.jsonl"), encoding="utf-8") as f:
        answers = [json.loads(line) for line in f]
    prompts = {x["prompt"]: json.loads(tlt_lines(a, "tokenize", "--model", a.model, text=x["prompt"]))
               for x in answers}
    given, scored = os.path.join(top, "answers.jsonl"), os.path.join(top, "scored.jsonl")
    with open(given, "w", encoding="utf-8") as f:
        f.writelines(json.dumps({"prompt": prompts[x["prompt"]], "tokens": x["ids"]}) + "\n" for x in answers)
    tlt_lines(a, "score", "--model", a.model, "--in", given, "--out", scored)
    with open(scored, encoding="utf-8") as f:
        first = [v for line in f for v in json.loads(line)["logprobs"]]
    with open(os.path.join(top, "metrics.jsonl"), encoding="utf-8") as f:
        now = next(m["sampling/logprob_mean"] for m in map(json.loads, f) if m["step"] == step)
    return now - mean(first)


def table(a, curves, runs):
    every = max(1, a.steps // 12)
    print(f"accepted length (spec/accept_length), mean over {every} steps and "
          f"{len(set(s for _, s in runs))} seeds; policy of speculation {a.policy}")
    wide = max(len(c) for c in curves) + 2
    print("steps     " + "".join(f"{c:>{wide}}" for c in curves) + "    kl to start   reward")
    for first in range(0, a.steps, every):
        row, last = [], first + every
        for c in curves:
            row.append(mean([column(m, "spec/accept_length", first, last)
                             for (k, _), m in runs.items() if k == c]))
        some = [m for (k, _), m in runs.items() if k == curves[0]]
        kl = mean([kl_to_start(a, c, s, last) for (c, s), m in runs.items()
                   if c == curves[0] and len(m) >= last])
        reward = mean([column(m, "reward/mean", first, last) for m in some])
        print(f"{first + 1:4d}-{last:<4d} " + "".join(f"{x:{wide}.3f}" for x in row) +
              f"    {kl:11.4f}   {reward:6.3f}")


def compare(a, runs, one, other):
    """one minus other over the last steps, seeds as the sample."""
    seeds = sorted(s for c, s in runs if c == one and (other, s) in runs)
    x = [column(runs[one, s], "spec/accept_length", a.steps - LAST, a.steps) -
         column(runs[other, s], "spec/accept_length", a.steps - LAST, a.steps) for s in seeds]
    x = [v for v in x if math.isfinite(v)]
    if x:
        m, low, high = interval(x)
        print(f"{one} minus {other}, last {LAST} steps, {len(x)} seeds: {m:+.4f} "
              f"(95 %: {low:+.4f} to {high:+.4f})")


def effort(a, curve, runs):
    """What training a drafter took, per RL step over all of the run."""
    def per_step(key):
        return mean([column(m, key, 0, a.steps) for (c, _), m in runs.items() if c == curve])
    print(f"{curve}: {per_step('drafter/micro_steps'):.1f} micro-steps per RL step, "
          f"{per_step('drafter/tokens') / per_step('completions/tokens'):.2f} times its answers' tokens, "
          f"{per_step('drafter/seconds') / per_step('time/step'):.1%} of its time")


def check_same(runs):
    for seed in sorted(set(s for _, s in runs)):
        for step in zip(*[m for (_, s), m in runs.items() if s == seed]):
            if len(set(m["weights/sha256"] for m in step)) != 1:
                sys.exit(f"seed {seed}, step {step[0]['step']}: the drafter changed the weights")


def main():
    a = arguments()
    curves = a.curves
    os.makedirs(os.path.join(a.out, a.policy.replace(":", "-")), exist_ok=True)
    config = write_config(a)
    if not a.no_run:
        first_drafter(a)
    todo = [(curve, seed) for curve in curves for seed in range(a.first_seed, a.first_seed + a.seeds)]
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        lines = list(pool.map(lambda x: run(a, config, *x), todo))
    runs = {x: m for x, m in zip(todo, lines) if m}
    check_same(runs)
    table(a, curves, runs)
    for curve in curves:
        if kind(curve) == "adaptive":
            compare(a, runs, curve, "frozen")
            compare(a, runs, curve, "none")
        elif kind(curve) == "scratch":
            compare(a, runs, curve, "adaptive")
        if kind(curve) in ("adaptive", "scratch"):
            effort(a, curve, runs)


if __name__ == "__main__":
    main()
