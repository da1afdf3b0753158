"""trace.json: a strict checker of the format, and that it tells the same as metrics.jsonl.

Traces of made-up steps come from build/tests/unit/report/trace_tool: written in one go, resumed, killed
at any moment, thinned. One real run of `tlt train` is checked end to end.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_trace.py; a file: python tests/py/test_trace.py RUN"""
import json
import os
import random
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TINY, read_jsonl, run_tlt

TOOL = os.path.join(os.environ.get("TLT_BUILD", os.path.join(ROOT, "build")), "tests", "unit", "report", "trace_tool")
STATES = ["other", "decoding", "idle", "drafter", "gradient", "reward", "update", "saving", "waiting", "reference",
          "eval"]
STEPS_THREAD = 65536
LIMIT = 64 << 20
FIELDS = {"M": {"name", "args"}, "X": {"name", "args", "ts", "dur"}, "C": {"name", "args", "ts"},
          "i": {"name", "args", "ts", "s"}}


def ns(microseconds):
    return round(microseconds * 1000)


def load(run):
    with open(os.path.join(run, "trace.json"), encoding="utf-8") as f:
        trace = json.load(f)
    assert set(trace) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert trace["otherData"]["detail_every"] >= 1
    return trace


def check_event(e):
    assert set(e) == {"step", "cat", "ph", "pid", "tid"} | FIELDS[e["ph"]], e
    assert isinstance(e["step"], int) and e["step"] >= 0 and e["pid"] == 1 and isinstance(e["tid"], int)
    if e["ph"] != "M":
        assert e["ts"] >= 0 and e.get("dur", 0) >= 0, e
    if e["ph"] == "C":
        assert e["args"] and all(isinstance(v, (int, float)) and v >= 0 for v in e["args"].values()), e
    if e["cat"] == "work":
        assert e["ph"] == "X" and e["name"] in STATES and e["args"]["count"] >= 1, e
        assert set(e["args"]) <= {"count", "detail"}, e


def check_tracks(events):
    """Spans of a thread are in order and never overlap; curves go forward; every thread has a name."""
    named = {e["tid"] for e in events if e["name"] == "thread_name"}
    end, curve, step = {}, {}, 0
    for e in events:
        assert e["step"] >= step
        step = e["step"]
        if e["ph"] == "X" or e["name"] == "totals":
            assert e["tid"] in named, e
            assert ns(e["ts"]) >= end.get(e["tid"], 0), e
            end[e["tid"]] = ns(e["ts"]) + ns(e.get("dur", 0))
        if e["ph"] == "C":
            assert ns(e["ts"]) >= curve.get(e["name"], 0), e
            curve[e["name"]] = ns(e["ts"])


def check_totals(events, metrics):
    """Per step and worker: spans against totals, totals against metrics.jsonl."""
    spans, seen = {}, 0
    for e in events:
        key = e["step"], e["tid"]
        if e["cat"] == "work":
            of = spans.setdefault(key, {})
            of[e["name"]] = of.get(e["name"], 0) + ns(e["dur"])
        if e["name"] != "totals":
            continue
        seen += 1
        totals = dict(e["args"])
        folded = totals.pop("folded")
        assert list(totals) == STATES
        if key in spans:
            off = sum(abs(spans[key].get(s, 0) * 1e-9 - totals[s]) for s in STATES) / 2
            assert off <= folded + 1e-6, (e, spans[key])
        line = metrics.get(e["step"], {})
        if f"workers/{e['tid']}/decoding" in line:
            assert totals == {s: line[f"workers/{e['tid']}/{s}"] for s in STATES}, e
    return seen


def check_metrics(line):
    """The states of all workers add up to their time, and to the sums."""
    n = line["workers/count"]
    assert abs(sum(line[f"workers/{s}"] for s in STATES) - line["workers/seconds"]) < 1e-6
    if n <= 8:
        for s in STATES:
            assert abs(sum(line[f"workers/{w}/{s}"] for w in range(n)) - line[f"workers/{s}"]) < 1e-9
    assert 0 <= line["workers/idle_fraction"] <= 1 + 1e-6


def check(run):
    """The whole of RUN/trace.json; returns its events."""
    trace = load(run)
    events = trace["traceEvents"]
    metrics = {line["step"]: line for line in read_jsonl(os.path.join(run, "metrics.jsonl"))}
    for line in metrics.values():
        if "workers/count" in line:
            check_metrics(line)
    for e in events:
        check_event(e)
    check_tracks(events)
    check_totals(events, metrics)
    assert events[0]["name"] == "process_name"
    return events


def totals(events):
    return [(e["step"], e["tid"]) for e in events if e["name"] == "totals"]


@pytest.fixture(scope="module")
def tool():
    if not os.access(TOOL, os.X_OK):
        pytest.skip(f"{TOOL} is not built")

    def run(directory, workers, after, last, limit=LIMIT):
        subprocess.run([TOOL, str(directory), str(workers), str(after), str(last), str(limit)], check=True, timeout=60)
    return run


def test_format_and_totals(tmp_path, tool):
    tool(tmp_path, 3, -1, 20)
    events = check(tmp_path)
    assert totals(events) == [(s, w) for s in range(21) for w in range(3)]
    assert sum(e["cat"] == "work" for e in events) > 1000


def test_many_workers(tmp_path, tool):
    tool(tmp_path, 12, -1, 3)
    assert len(totals(check(tmp_path))) == 4 * 12


def test_resume_goes_on_behind_the_checkpoint(tmp_path, tool):
    tool(tmp_path, 2, -1, 9)
    tool(tmp_path, 4, 6, 12)  # another number of workers
    tool(tmp_path, 1, 12, 13)
    want = [(s, w) for s in range(7) for w in range(2)] + [(s, w) for s in range(7, 13) for w in range(4)]
    assert totals(check(tmp_path)) == want + [(13, 0)]


def test_killed_at_any_moment(tmp_path, tool):
    rng, last = random.Random(5), -1
    for _ in range(12):
        p = subprocess.Popen([TOOL, str(tmp_path), "3", str(last), "1000000", "400000"])
        time.sleep(rng.uniform(0.02, 0.15))
        p.kill()
        p.wait()
        with open(tmp_path / "metrics.jsonl", "rb") as f:
            whole = f.read().rsplit(b"\n", 1)[0].splitlines()
        steps = len(whole) - 1
        last = max(-1, rng.randint(steps // 2, steps))
    tool(tmp_path, 3, last, last + 2, 400000)
    events = check(tmp_path)
    assert totals(events)[-6:] == [(s, w) for s in (last + 1, last + 2) for w in range(3)]


def test_long_runs_stay_bounded(tmp_path, tool):
    tool(tmp_path, 2, -1, 1500, 4 << 20)
    assert os.path.getsize(tmp_path / "trace.json") < 1.1 * (4 << 20)
    every = load(tmp_path)["otherData"]["detail_every"]
    events = check(tmp_path)
    assert every > 1 and {e["step"] for e in events if e["cat"] == "work"} == set(range(0, 1501, every))


CONFIG = """
model: {model}
seed: 3
steps: 3
data: {{task: countdown, count: 8, seed: 5}}
eval: {{every: 2, count: 6, samples: 1}}
rollout: {{prompts: 3, samples: 4, max_tokens: 60, batch: 12}}
log: {{rollouts: none}}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_accounts_for_its_time(tmp_path, tlt, tiny, workers):
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.format(model=TINY))
    run = tmp_path / "run"
    flags = ["--workers", workers] if workers > 1 else []
    if flags and "--workers" not in run_tlt("train", "--help")[1].decode():
        pytest.skip("this build has no workers")
    code, _, err = run_tlt("train", config, "--run", run, *flags)
    assert code == 0, err
    events = check(run)
    lines = [line for line in read_jsonl(run / "metrics.jsonl") if line["step"] > 0]
    if not totals(events) and "workers/count" not in lines[-1]:
        pytest.skip("this build keeps no accounts")
    for line in lines:
        leader = sum(line[f"workers/0/{s}"] for s in STATES) - line["workers/0/saving"]
        assert abs(leader - line["time/step"]) <= 0.05 * line["time/step"] + 0.03, line
        assert line["workers/seconds"] >= line["workers/count"] * 0.95 * line["time/step"] - 0.03, line
        assert line["workers/decoding"] > 0 and line["workers/gradient"] + line["workers/update"] > 0
    assert {s for s, _ in totals(events)} >= {1, 2, 3}


if __name__ == "__main__":
    found = check(sys.argv[1])
    print(f"{len(found)} events, {len(totals(found))} totals: correct")
