"""trace.json: correct by the strict checker of the format (trace_format.py), with what tlt promises beyond it
(docs/formats.md), and telling the same as metrics.jsonl.

Traces of made-up steps come from build/tests/unit/report/trace_tool: written in one go, resumed, killed
at any moment, thinned. Real runs of `tlt train` are checked end to end: one worker, two, resumed, with a reward program.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_trace.py; a file: python tests/py/test_trace.py RUN"""
import copy
import json
import os
import random
import re
import subprocess
import sys
import time

import pytest
import trace_format
from conftest import ROOT, TINY, read_jsonl, run_tlt

TOOL = os.path.join(os.environ.get("TLT_BUILD", os.path.join(ROOT, "build")), "tests", "unit", "report", "trace_tool")


def names_of(kind):
    """As src/events/spans.h lists them."""
    with open(os.path.join(ROOT, "src", "events", "spans.h"), encoding="ascii") as f:
        listed = re.search(rf"define TLT_{kind}_LIST\(X\)((?:.*\\\n)*.*\n)", f.read()).group(1)
    return re.findall(r'X\(\w+, "(\w+)"\)', listed)


STATES, STAGES = names_of("WORK"), names_of("STAGE")
STEPS_THREAD, BESIDE, EACH, WRITER = 65536, 131072, 512, 256
LIMIT = 64 << 20
CATEGORY = {"name": "M", "step": "Xi", "stage": "X", "work": "X", "count": "C", "group": "be", "beside": "X"}
ns = trace_format.ns


def load(run):
    trace = trace_format.check(os.path.join(run, "trace.json"), own=("step",))
    assert set(trace) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert trace["otherData"]["detail_every"] >= 1
    return trace


def check_event(e):
    """What each category may hold and where it stands."""
    assert isinstance(e["step"], int) and e["step"] >= 0 and e["pid"] == 1
    assert e["ph"] in CATEGORY[e["cat"]], e
    if e["cat"] == "work":
        assert 0 < e["tid"] < STEPS_THREAD and e["name"] in STATES and e["args"]["count"] >= 1, e
        assert set(e["args"]) <= {"count", "detail"}, e
    if e["cat"] == "stage":
        assert e["tid"] == STEPS_THREAD and e["name"] in STAGES, e
    if e["cat"] == "beside":
        assert e["name"] == ("checkpoint" if (e["tid"] - BESIDE) % EACH == WRITER else "reward"), e
        assert e["tid"] >= BESIDE and set(e["args"]) == {"detail"}, e
    if e["ph"] == "b":
        assert e["args"] == {"worker": e["tid"] - 1, "detail": e["id"]}, e
    if e["ph"] == "C":
        assert all(v >= 0 for v in e["args"].values()), e


def check_tracks(events):
    """Steps ascend; spans of a thread are in order and, but for the stages of a step, never overlap."""
    end, step = {}, 0
    for e in events:
        assert e["step"] >= step
        step = e["step"]
        if e["cat"] != "stage" and (e["ph"] == "X" or e["name"] == "totals"):
            assert ns(e["ts"]) >= end.get(e["tid"], 0), e
            end[e["tid"]] = ns(e["ts"]) + ns(e.get("dur", 0))
    begun, stages = {}, {}
    for e in events:
        if e["cat"] == "step" and e["ph"] == "X":
            begun[e["step"]] = ns(e["ts"]), ns(e["ts"]) + ns(e["dur"])
        if e["cat"] == "stage":
            first, last = begun[e["step"]]
            assert max(first, stages.get(e["step"], 0)) <= ns(e["ts"]) <= ns(e["ts"]) + ns(e["dur"]) <= last, e
            stages[e["step"]] = ns(e["ts"]) + ns(e["dur"])


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
        folded, left_out = totals.pop("folded"), totals.pop("left_out", 0)
        assert folded >= 0 and left_out >= 0
        assert list(totals) == STATES
        if key in spans:
            off = sum(abs(spans[key].get(s, 0) * 1e-9 - totals[s]) for s in STATES) / 2
            assert off <= folded + 1e-6, (e, spans[key])
        line = metrics.get(e["step"], {})
        worker = e["tid"] - 1
        if f"workers/{worker}/decoding" in line:
            assert totals == {s: line[f"workers/{worker}/{s}"] for s in STATES}, e
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
    return [(e["step"], e["tid"] - 1) for e in events if e["name"] == "totals"]


def damage(events, which, change):
    """The events with the first that `which` picks changed."""
    events = copy.deepcopy(events)
    change(next(e for e in events if which(e)))
    return events


DAMAGE = {
    "unknown phase": (lambda e: e["ph"] == "X", lambda e: e.update(ph="Q")),
    "no name": (lambda e: e["ph"] == "X", lambda e: e.pop("name")),
    "time as text": (lambda e: e["ph"] == "i", lambda e: e.update(ts="1")),
    "negative time": (lambda e: e["ph"] == "C", lambda e: e.update(ts=-1)),
    "negative duration": (lambda e: e["ph"] == "X", lambda e: e.update(dur=-1)),
    "spans that cross": (lambda e: e["cat"] == "work", lambda e: e.update(dur=e["dur"] + 0.01)),
    "another name at the end": (lambda e: e["ph"] == "e", lambda e: e.update(name="x")),
    "no end": (lambda e: e["ph"] == "e", lambda e: e.update(ph="b")),
    "an end too early": (lambda e: e["ph"] == "e", lambda e: e.update(ts=0)),
    "another id": (lambda e: e["ph"] == "e", lambda e: e.update(id=-1)),
    "text as counter": (lambda e: e["ph"] == "C", lambda e: e["args"].update(x="1")),
    "no such metadata": (lambda e: e["ph"] == "M", lambda e: e.update(name="thread")),
    "a thread without name": (lambda e: e["name"] == "thread_name", lambda e: e.update(tid=77)),
    "a field from nowhere": (lambda e: e["ph"] == "X", lambda e: e.update(duration=1)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_the_checker_finds(tmp_path, tool, what):
    tool(tmp_path, 2, -1, 2)
    path = tmp_path / "trace.json"
    trace = load(tmp_path)
    trace["traceEvents"] = damage(trace["traceEvents"], *DAMAGE[what])
    path.write_text(json.dumps(trace))
    with pytest.raises(AssertionError):
        trace_format.check(str(path), own=("step",))


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
steps: 4
data: {{task: countdown, count: 8, seed: 5}}
eval: {{every: 2, count: 6, samples: 1}}
reward: {{command: {reward}, workers: 3}}
rollout: {{prompts: 3, samples: 4, max_tokens: 60, batch: 12}}
speculation: {{draft: suffix}}
drafter: {{train: {drafter}}}
checkpoint: {{every: 2}}
log: {{rollouts: none}}
"""
REWARD = f"{sys.executable} {os.path.join(ROOT, 'examples', 'reward.py')}"


@pytest.fixture
def train(tmp_path, tlt, tiny):
    def run(name, *flags, reward="null", drafter="off"):
        config = tmp_path / f"{name}.yaml"
        config.write_text(CONFIG.format(model=TINY, reward=reward, drafter=drafter))
        code, _, err = run_tlt("train", config, "--run", tmp_path / name, *flags)
        assert code == 0, err
        return tmp_path / name
    return run


def check_times(run):
    """Metrics against each other: states fill the step of every worker."""
    for line in read_jsonl(run / "metrics.jsonl"):
        if line["step"] == 0:
            continue
        leader = sum(line[f"workers/0/{s}"] for s in STATES) - line["workers/0/saving"]
        assert abs(leader - line["time/step"]) <= 0.05 * line["time/step"] + 0.03, line
        assert line["workers/seconds"] >= line["workers/count"] * 0.95 * line["time/step"] - 0.03, line
        assert line["workers/decoding"] > 0 and line["workers/gradient"] + line["workers/update"] > 0


def check_report(run, events):
    """Seconds by state are the same in the trace, in metrics.jsonl and in the report, which has the trace's spans."""
    code, out, err = run_tlt("report", run, "--json")
    assert code == 0, err
    page, lines = json.loads(out), read_jsonl(run / "metrics.jsonl")
    phases = {row["name"]: row["seconds"] for row in page["phases"]["rows"]}
    begin = {e["step"]: e["ts"] for e in events if e["cat"] == "step" and e["ph"] == "X"}
    told = [e for e in events if e["name"] == "totals" and e["step"] > 0]  # a line of step 0 has no workers
    for state in STATES:
        of_trace = sum(e["args"][state] for e in told)
        of_metrics = sum(line.get(f"workers/{state}", 0) for line in lines)
        assert of_trace == pytest.approx(of_metrics, abs=1e-9), state
        assert phases.get(state, 0) == pytest.approx(of_metrics, abs=1e-9), state
    assert sum(phases.values()) == pytest.approx(sum(line.get("workers/seconds", 0) for line in lines), abs=1e-6)
    for step, workers in page["timeline"]["data"].items():
        for worker in workers:
            spans = [e for e in events if e["cat"] == "work" and (e["step"], e["tid"] - 1) == (int(step), worker["worker"])]
            assert [e["name"] for e in spans] == [span[2] for span in worker["spans"]]
            assert [e["args"].get("detail") for e in spans] == [span[3] for span in worker["spans"]]
            assert [(e["ts"] - begin[int(step)]) * 1e-6 for e in spans] == pytest.approx(
                [span[0] for span in worker["spans"]], abs=2e-5)
            assert [e["dur"] * 1e-6 for e in spans] == pytest.approx([b - a for a, b, *_ in worker["spans"]], abs=2e-5)


def stages(events, step):
    return [e["name"] for e in events if e["cat"] == "stage" and e["step"] == step]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_accounts_for_its_time(train, workers):
    run = train("run", "--workers", workers)
    events = check(run)
    check_times(run)
    check_report(run, events)
    assert totals(events) == [(s, w) for s in range(5) for w in range(workers)]
    assert stages(events, 0) == ["evaluation"] and stages(events, 2) == ["rollout", "update", "evaluation"]
    assert stages(events, 3) == ["saving", "rollout", "update"]
    for step in range(1, 5):  # every group, once
        groups = [e["id"] for e in events if e["ph"] == "b" and e["step"] == step and e["id"] < 2**31 - 1000]
        assert sorted(g for g in groups if g < 12) == list(range(3 * step - 3, 3 * step)), groups
        gradients = {e["args"]["detail"] for e in events
                     if e["step"] == step and e["name"] == "gradient" and "detail" in e["args"]}
        assert gradients <= set(groups)


def test_a_resumed_run_goes_on_in_its_trace(train):
    run = train("run", "--set", "steps=2")
    before = check(run)
    run = train("run", "--resume", "--workers", 2)
    events = check(run)
    check_times(run)
    check_report(run, events)
    assert [e for e in events if e["step"] <= 2 and e["cat"] != "name"] == [e for e in before if e["cat"] != "name"]
    assert totals(events) == [(s, 0) for s in range(3)] + [(s, w) for s in (3, 4) for w in range(2)]


@pytest.mark.parametrize("workers", [1, 2])
def test_reward_processes_are_seen(train, workers):
    run = train("run", "--workers", workers, reward=json.dumps(REWARD), drafter="idle")
    events = check(run)
    check_times(run)
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {f"worker {w} reward process 0" for w in range(workers)} <= names
    scored = [e for e in events if e["name"] == "reward" and e["cat"] == "beside"]
    assert {(e["tid"] - BESIDE) // EACH for e in scored} == set(range(workers))
    groups = {(e["step"], e["id"]): e for e in events if e["ph"] == "b"}
    ends = {(e["step"], e["id"]): ns(e["ts"]) for e in events if e["ph"] == "e"}
    for e in scored:  # within the life of its group, on its worker
        key = e["step"], e["args"]["detail"]
        assert groups[key]["tid"] == (e["tid"] - BESIDE) // EACH + 1, e
        assert ns(groups[key]["ts"]) <= ns(e["ts"]) and ns(e["ts"]) + ns(e["dur"]) <= ends[key] + 1, e
    saved = sorted({line.get("drafter/seconds_save", None) or 0 for line in read_jsonl(run / "metrics.jsonl")} - {0})
    written = sorted(ns(e["dur"]) * 1e-9 for e in events if e["name"] == "checkpoint")
    assert written == pytest.approx(saved, abs=1e-8)


if __name__ == "__main__":
    found = check(sys.argv[1])
    print(f"{len(found)} events, {len(totals(found))} totals: correct")
