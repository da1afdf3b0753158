"""A strict checker of Chrome's trace event format, JSON object form, for the phases M X C i b e.

It takes nothing for granted about who wrote the trace: required fields of each phase, types, metadata, spans of a
thread that nest, async pairs that match, counters that keep their series.
Alone: python tests/py/trace_format.py FILE..."""
import json
import math
import sys

REQUIRED = {"M": {"name", "args"}, "X": {"name", "ts", "dur"}, "C": {"name", "ts", "args"}, "i": {"name", "ts"},
            "b": {"name", "ts", "id", "cat"}, "e": {"name", "ts", "id", "cat"}}
KNOWN = {"name", "cat", "ph", "ts", "pid", "tid", "args", "dur", "id", "s", "tts", "cname"}
METADATA = {"process_name": ("name", str), "process_labels": ("labels", str), "process_sort_index": ("sort_index", int),
            "thread_name": ("name", str), "thread_sort_index": ("sort_index", int)}
TOP = {"traceEvents", "displayTimeUnit", "otherData", "metadata", "systemTraceEvents", "stackFrames", "samples",
       "controllerTraceDataKey", "powerTraceAsString"}


def number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)


def ns(microseconds):
    """Times are microseconds with at most three decimals."""
    whole = round(microseconds * 1000)
    assert abs(microseconds * 1000 - whole) < 1e-3 * max(1, abs(whole) * 1e-9), microseconds
    return whole


def load(path):
    """The trace, by a parser that refuses what JSON does not have and repeated keys."""
    def once(pairs):
        assert len({k for k, _ in pairs}) == len(pairs), f"repeated key in {pairs}"
        return dict(pairs)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")
    with open(path, encoding="utf-8", errors="strict") as f:
        trace = json.load(f, object_pairs_hook=once, parse_constant=refuse)
    assert isinstance(trace, dict) and isinstance(trace.get("traceEvents"), list)
    assert set(trace) <= TOP, set(trace) - TOP
    assert trace.get("displayTimeUnit", "ms") in ("ms", "ns")
    return trace


def check_fields(e, own):
    """One event by itself; own: fields of the writer's beside the format's."""
    assert isinstance(e, dict) and isinstance(e.get("ph"), str), e
    assert e["ph"] in REQUIRED, e
    missing, unknown = REQUIRED[e["ph"]] - set(e), set(e) - KNOWN - set(own)
    assert not missing and not unknown, (e, missing, unknown)
    assert isinstance(e["name"], str) and e["name"], e
    assert isinstance(e.get("cat", ""), str) and isinstance(e.get("args", {}), dict), e
    for key in ("pid", "tid"):
        assert isinstance(e.get(key), int) and 0 <= e[key] < 2**31, e
    if e["ph"] not in "M":
        assert e["pid"] > 0 and e["tid"] > 0, e  # 0 is legal, but Perfetto gives its events to thread `pid`
    if e["ph"] != "M":
        assert number(e["ts"]) and 0 <= e["ts"] < 2**53, e
    if e["ph"] == "X":
        assert number(e["dur"]) and e["dur"] >= 0, e
    if e["ph"] == "i":
        assert e.get("s", "t") in ("g", "p", "t"), e
    if e["ph"] == "C":
        assert e["args"] and all(number(v) for v in e["args"].values()), e
    if e["ph"] in "be":
        assert isinstance(e["id"], (int, str)) and not isinstance(e["id"], bool), e
    if e["ph"] == "M":
        assert e["name"] in METADATA, e
        key, kind = METADATA[e["name"]]
        assert set(e["args"]) == {key} and isinstance(e["args"][key], kind), e


def check_metadata(events):
    """Names are given once, before anything else on that track, and every thread has one."""
    named, seen = {}, set()
    for e in events:
        track = e["pid"], e["tid"]
        if e["ph"] == "M":
            of = (e["pid"],) if e["name"].startswith("process") else track
            assert (e["name"], of) not in named, e
            assert not (e["name"] == "thread_name" and track in seen), e
            named[e["name"], of] = e["args"]
        elif e["ph"] in "Xi":
            seen.add(track)
    for pid, tid in seen:
        assert ("thread_name", (pid, tid)) in named, (pid, tid)
        assert ("process_name", (pid,)) in named, pid
    names = [a["name"] for (what, _), a in named.items() if what == "thread_name"]
    assert len(set(names)) == len(names), "two threads of one name"


def check_nesting(events):
    """Spans of a thread lie inside each other or apart."""
    threads = {}
    for e in events:
        if e["ph"] == "X":
            threads.setdefault((e["pid"], e["tid"]), []).append((ns(e["ts"]), -ns(e["dur"]), e["name"]))
    for track, spans in threads.items():
        open_ends = []
        for begin, minus, name in sorted(spans):
            end = begin - minus
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1], (track, name, begin, end, open_ends)
            open_ends.append(end)


def check_async(events):
    """Each b has its e: same category, id and name, not before it, innermost first."""
    begun = {}
    for e in sorted((e for e in events if e["ph"] in "be"), key=lambda e: ns(e["ts"])):  # stable: as in the file
        stack = begun.setdefault((e["pid"], e.get("cat"), e["id"]), [])
        if e["ph"] == "b":
            stack.append(e["name"])
        else:
            assert stack and stack.pop() == e["name"], e
    assert not any(begun.values()), [key for key, stack in begun.items() if stack]


def check_counters(events):
    """A counter has the same series all along, and goes forward in time."""
    series = {}
    for e in events:
        if e["ph"] != "C":
            continue
        keys, at = series.setdefault((e["pid"], e["name"]), (set(e["args"]), 0))
        assert set(e["args"]) == keys and ns(e["ts"]) >= at, e
        series[e["pid"], e["name"]] = keys, ns(e["ts"])


def check(path, own=()):
    """The trace at path, checked; its events."""
    trace = load(path)
    events = trace["traceEvents"]
    for e in events:
        check_fields(e, own)
    check_metadata(events)
    check_nesting(events)
    check_async(events)
    check_counters(events)
    return trace


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {len(check(name, own=('step',))['traceEvents'])} events: correct")
