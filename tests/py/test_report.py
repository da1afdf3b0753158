"""tlt report and tlt compare on real runs: what the page is given, runs that are cut off or damaged, hostile texts,
where two runs part. Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_report.py"""
import json
import os
import re
import shutil
import subprocess
import time

import pytest
from conftest import ROOT, TLT, read_jsonl, run_tlt

CONFIG = """model: {model}
steps: 3
data: {{task: countdown, count: 40}}
eval: {{every: 2, count: 6, temperature: 1.0}}
rollout: {{prompts: 4, samples: 4, max_tokens: 48, batch: 8}}
optimizer: {{lr: 1.0e-4}}
log: {{rollouts: all}}
"""


def train(directory, name, tiny, *flags):
    config = directory / "config.yaml"
    config.write_text(CONFIG.format(model=tiny))
    run = directory / name
    code, out, err = run_tlt("train", config, "--run", run, *flags, timeout=170)
    assert code == 0, err
    assert f"report: {run}/report.html".encode() in out
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny):
    if not os.access(TLT, os.X_OK):
        pytest.skip(f"{TLT} is not built")
    top = tmp_path_factory.mktemp("report")
    return {"two": train(top, "two", tiny, "--workers", "2"),
            "one": train(top, "one", tiny, "--set", "speculation.draft=off"),
            "seed": train(top, "seed", tiny, "--set", "seed=2")}


@pytest.fixture()
def run(runs, tmp_path):
    return shutil.copytree(runs["two"], tmp_path / "run")


def payload(path):
    """The data of a page as its program sees it."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json" id="run">(.*?)</script>', text, re.S)
    assert len(found) == 1
    return json.loads(found[0])


def report(tlt, run):
    code, out, err = tlt("report", run)
    assert (code, err) == (0, "")
    assert out.decode().startswith(f"{run}/report.html: ") and out.count(b"\n") == 1
    return payload(run / "report.html")


def refused(result, code, *words):
    got, out, err = result
    assert (got, out) == (code, b""), (got, out, err)
    lines = err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("tlt: "), err
    for word in words:
        assert word in lines[0], (word, lines[0])


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


# ---- a good run --------------------------------------------------------------------------------


def test_page_holds_what_was_measured(runs):
    for name in ("two", "one"):
        lines = read_jsonl(runs[name] / "metrics.jsonl")
        page = payload(runs[name] / "report.html")
        assert page["run"]["state"] == "done" and page["run"]["notices"] == []
        assert page["columns"]["step"] == [line["step"] for line in lines] and page["thinned"] == 1
        numbers = {k for line in lines for k, v in line.items() if isinstance(v, (int, float))}
        assert set(page["columns"]) == numbers
        for key in numbers - {"step"}:
            for line, value in zip(lines, page["columns"][key]):
                want = line.get(key)
                assert (want is None) == (value is None) and (want is None or value == pytest.approx(want, rel=1e-6))
        for row in page["phases"]["rows"]:
            total = sum(line.get(f"workers/{row['name']}", 0) for line in lines)
            assert row["seconds"] == pytest.approx(total, rel=1e-9)
        assert [h[0] for h in page["hashes"]] == [line["step"] for line in lines]
        assert page["hashes"][-1][1] == lines[-1]["weights/sha256"]
        assert dict(page["config"])["rollout.prompts"] == "4"
        assert page["machine"] and all(isinstance(v, str) for _, v in page["machine"])


def test_samples_are_the_answers(runs):
    page = payload(runs["two"] / "report.html")
    assert [s["step"] for s in page["samples"]] == [1] * 4 + [2] * 4 + [3] * 4
    kept = {(a["step"], a["rollout"], a["sample"]): a for step in (1, 2, 3)
            for a in read_jsonl(runs["two"] / "rollouts" / f"step-{step}.jsonl")}
    for s in page["samples"]:
        answer = kept[s["step"], s["rollout"], s["sample"]]
        assert "".join(text for text, _ in s["pieces"]) == answer["text"]
        assert s["prompt"] == answer["prompt"] and s["tokens"] == answer["tokens"]


def test_lengths_count_every_answer(runs):
    page = payload(runs["two"] / "report.html")
    for which, step in (("first", 1), ("last", 3)):
        answers = [a["tokens"] for a in read_jsonl(runs["two"] / "rollouts" / f"step-{step}.jsonl")]
        edges = page["lengths"]["edges"]
        want = [sum(low < n <= high for n in answers) for low, high in zip([0] + edges, edges + [1 << 30])]
        assert page["lengths"][which] == want


def test_estimates_say_their_method(runs):
    for name in ("two", "one"):
        saved = payload(runs[name] / "report.html")["saved"]
        assert [s["what"] for s in saved] == ["speculation", "idle work"]
        assert all(len(s["method"]) > 20 for s in saved)
    assert saved[0]["seconds"] is None  # speculation was off


def test_json_is_the_page(tlt, runs):
    code, out, _ = tlt("report", runs["two"], "--json")
    assert code == 0 and json.loads(out) == payload(runs["two"] / "report.html")


def test_out_goes_elsewhere(tlt, run, tmp_path):
    (run / "report.html").unlink()
    code, out, _ = tlt("report", f"{run}/", "--out", tmp_path / "x.html")
    assert code == 0 and out.decode().startswith(f"{tmp_path}/x.html: ")
    assert payload(tmp_path / "x.html")["run"]["name"] == "run"
    assert not (run / "report.html").exists()


# ---- runs that are not whole -------------------------------------------------------------------


def test_killed_in_mid_line(tlt, run):
    metrics = run / "metrics.jsonl"
    cut(metrics, metrics.stat().st_size - 100)
    cut(run / "trace.json", (run / "trace.json").stat().st_size * 2 // 3)
    cut(run / "rollouts" / "step-3.jsonl", 700)
    (run / "status.json").write_text(json.dumps({"state": "running", "step": 2, "steps": 3, "heartbeat": 1e9}))
    page = report(tlt, run)
    assert page["run"]["state"] == "unknown" and "no sign of life" in page["run"]["reason"]
    assert page["columns"]["step"] == [0, 1, 2]
    notices = " / ".join(page["run"]["notices"])
    for words in ("metrics.jsonl line 4: ends in mid-line", "trace.json", "rollouts/step-3.jsonl line"):
        assert words in notices, notices


def test_unfinished(tlt, run):
    for name in ("metrics.jsonl", "trace.json", "rollouts", "spec.jsonl", "machine.json", "tensorboard"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = report(tlt, run)
    assert page["columns"] == {"step": []} and page["samples"] == [] and page["timeline"]["steps"] == []
    assert any("metrics.jsonl is missing" in n for n in page["run"]["notices"])


def test_garbage_in_the_middle(tlt, run):
    lines = (run / "metrics.jsonl").read_bytes().split(b"\n")
    lines[1:1] = [b"\x00\xff garbage", b'{"step": 0}', b'{"step": "zero"}', b"[" * 100000, b'{"a": 1, "a": 2}']
    lines[6] = lines[6][:-1] + b', "note": "\xff\xfe", "new/key": 7, "huge": 1e400}'
    (run / "metrics.jsonl").write_bytes(b"\n".join(lines))
    page = report(tlt, run)
    notices = page["run"]["notices"]
    assert [n.split(":")[0] for n in notices] == [f"metrics.jsonl line {i}" for i in (2, 3, 4, 5, 6, 7)], notices
    assert page["columns"]["step"] == [0, 2, 3]


def test_other_version(tlt, run):
    (run / "machine.json").write_text('{"tlt": "9.9.9", "new": {"a": [1, {"b": null}]}}')
    with open(run / "config.yaml", "a", encoding="utf-8") as f:
        f.write("unheard_of: {key: [1, 2]}\n")
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "pondering"}))
    page = report(tlt, run)
    assert page["run"]["state"] == "unknown"
    assert any("9.9.9" in n for n in page["run"]["notices"])
    assert dict(page["config"])["unheard_of.key"] == "[1, 2]"


def test_config_that_is_no_yaml(tlt, run):
    (run / "config.yaml").write_text("model: [unclosed\n\tx")
    page = report(tlt, run)
    assert page["config"] == [] and any("config.yaml" in n for n in page["run"]["notices"])


@pytest.mark.parametrize("command", ["report", "compare"])
def test_not_a_run(tlt, runs, tmp_path, tiny, command):
    more = [runs["one"]] if command == "compare" else []
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("x")
    refused(tlt(command, empty, *more), 3, str(empty), "metrics.jsonl, config.yaml, status.json")
    refused(tlt(command, tiny, *more), 3, "no run directory", "metrics.jsonl")
    refused(tlt(command, tmp_path / "none", *more), 3, "does not exist")
    refused(tlt(command, tmp_path / "file", *more), 3, "got a file")
    assert list(empty.iterdir()) == []


def test_usage(tlt, runs, run):
    refused(tlt("report"), 2, "one run directory")
    refused(tlt("report", run, run), 2, "one run directory")
    refused(tlt("report", run, "--nonsense"), 2, "nonsense")
    refused(tlt("report", run, "--json", "--out", "x"), 2, "--out")
    refused(tlt("compare", run), 2, "got 1 run directory")
    for command in ("report", "compare"):
        assert tlt(command, "--help")[0] == 0


def test_page_cannot_be_written(tlt, run):
    before = (run / "report.html").read_bytes()
    refused(tlt("report", run, "--out", run / "nowhere" / "x.html"), 4, "nowhere")
    (run / "report.html.tmp").mkdir()
    refused(tlt("report", run), 4, "report.html")
    assert (run / "report.html").read_bytes() == before


# ---- texts of unknown origin -------------------------------------------------------------------

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--<script>", "]]>", "\u2028\u2029",
           "\u202eabc\u2066", "\u05e9\u05dc\u05d5\u05dd", "a\x1b[31mred\x07\x7f", "&lt;b&gt; \"'`${x}", "\U0001f600"]


def test_hostile_texts(tlt, runs, run):
    path = run / "rollouts" / "step-1.jsonl"
    first = read_jsonl(path)[0]
    lines = [{**first, "rollout": i, "sample": 0, "id": text, "prompt": text, "text": text, "ids": [i]}
             for i, text in enumerate(HOSTILE)]
    body = b"".join(json.dumps(x, ensure_ascii=i % 2 == 0).encode() + b"\n" for i, x in enumerate(lines))
    path.write_bytes(body)
    (run / "spec.jsonl").unlink(missing_ok=True)
    page = report(tlt, run)
    shown = {s["prompt"] for s in page["samples"] if s["step"] == 1}
    assert len(shown) == 4 and shown <= set(HOSTILE)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert html.count("<script>alert") == 0 and "<img src=x" not in html
    code, out, _ = tlt("compare", run, runs["seed"])
    assert code == 0 and not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", out)


def test_invalid_utf8_in_answers(tlt, run):
    path = run / "rollouts" / "step-1.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[0] = lines[0].replace(b'"text": "', b'"text": "\xff\xc3(\\\\ud800\\u0000')
    path.write_bytes(b"\n".join(lines))
    page = report(tlt, run)
    assert "".join(t for t, _ in page["samples"][0]["pieces"]).startswith("\ufffd\ufffd(\\ud800\ufffd")
    assert any("step-1.jsonl line 1" in n and "U+FFFD" in n for n in page["run"]["notices"])


def test_hostile_names(tlt, runs, tmp_path):
    odd = shutil.copytree(runs["two"], tmp_path / "a\x1b[2J<b>\u202e")
    lines = read_jsonl(odd / "metrics.jsonl")
    lines[1]["<script>\x1b"] = 1.5
    (odd / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    page = report(tlt, odd)
    assert page["columns"]["<script>\x1b"][1] == 1.5
    code, out, _ = tlt("compare", runs["two"], odd)
    assert code == 0 and b"\x1b" not in out and "\u202e".encode() not in out


# ---- long runs ---------------------------------------------------------------------------------


def test_5000_steps(tlt, run):
    lines = read_jsonl(run / "metrics.jsonl")
    with open(run / "metrics.jsonl", "w", encoding="utf-8") as f:
        for step in range(5001):
            f.write(json.dumps({**lines[step % 4], "step": step}) + "\n")
    from_ = time.monotonic()
    page = report(tlt, run)
    assert time.monotonic() - from_ < 20  # about a second on an idle machine
    assert (run / "report.html").stat().st_size < 10_000_000
    assert page["thinned"] == 4 and page["columns"]["step"][-1] == 5000
    assert len(page["columns"]["reward/mean|min"]) == len(page["columns"]["step"]) == 1251
    assert sum(r["seconds"] for r in page["phases"]["rows"]) == pytest.approx(
        sum(lines[i % 4].get("workers/seconds", 0) for i in range(5001)), rel=1e-3)


# ---- compare -----------------------------------------------------------------------------------


def first_difference(a, b):
    """Step, rollout, sample and token, found the slow way."""
    for step in (1, 2, 3):
        for x, y in zip(read_jsonl(a / "rollouts" / f"step-{step}.jsonl"), read_jsonl(b / "rollouts" / f"step-{step}.jsonl")):
            if x["ids"] != y["ids"]:
                token = next((i for i, (p, q) in enumerate(zip(x["ids"], y["ids"])) if p != q),
                             min(len(x["ids"]), len(y["ids"])))
                return {"step": step, "rollout": x["rollout"], "sample": x["sample"], "token": token}
    return None


def compared(tlt, *runs):
    code, out, err = tlt("compare", *runs, "--json")
    assert code == 0, err
    return json.loads(out)


def test_workers_and_speculation_change_no_bit(tlt, runs):
    c = compared(tlt, runs["two"], runs["one"])
    assert c["runs"][1]["identical"] is True and c["runs"][1]["common_steps"] == 4
    assert set(c["config"]) == {"speculation.draft"}
    code, out, err = tlt("compare", runs["two"], runs["one"])
    assert (code, err) == (0, "") and b"two and one are bit-identical: " in out
    for what in ("reward, last 10 steps", "held-back accuracy", "tokens generated", "time of rollouts", "idle share",
                 "acceptance length", "cost/cpu_seconds, total"):
        assert what in out.decode(), out.decode()


def test_first_differing_token(tlt, runs):
    c = compared(tlt, runs["two"], runs["seed"])
    assert c["runs"][1]["identical"] is False
    want = first_difference(runs["two"], runs["seed"])
    assert {k: c["runs"][1]["answer"][k] for k in want} == want
    assert c["config"]["seed"] == ["1", "2"]


def test_one_bit_of_one_value(tlt, runs, run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert '"entropy": ' in lines[2]
    value = re.search(r'"entropy": ([0-9.e-]+)', lines[2])[1]
    nudged = repr(float(value) * (1 + 2 ** -52))
    assert float(nudged) != float(value)
    lines[2] = lines[2].replace(f'"entropy": {value}', f'"entropy": {nudged}')
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    c = compared(tlt, runs["two"], run)["runs"][1]
    assert (c["identical"], c["first_differing_step"], c["key"]) == (False, 2, "entropy")
    assert c["first_differing_hash_step"] is None


def test_page_of_several_runs(tlt, runs, tmp_path):
    code, _, err = tlt("compare", runs["two"], runs["one"], runs["seed"], "--html", tmp_path / "c.html")
    assert (code, err) == (0, "")
    page = payload(tmp_path / "c.html")
    assert len(page["runs"]) == 3 and "bit-identical" in page["compare"]["verdict"]
    assert page["compare"]["head"] == ["", "two", "one", "seed", "one, difference", "seed, difference"]
    assert all(len(row) == 6 for row in page["compare"]["rows"])
    assert page["runs"][2]["columns"]["step"] == [0, 1, 2, 3]


def test_compare_with_a_cut_run(tlt, runs, run):
    cut(run / "metrics.jsonl", (run / "metrics.jsonl").stat().st_size - 50)
    code, out, err = tlt("compare", runs["two"], run)
    assert code == 0 and b"bit-identical" in out and b"3 common steps" in out
    assert "warning: run: metrics.jsonl line 4: ends in mid-line, left out" in err


# ---- while a run goes on -----------------------------------------------------------------------


def test_report_of_a_run_that_goes_on(tlt, tiny, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(model=tiny).replace("steps: 3", "steps: 2000"))
    run = tmp_path / "run"
    p = subprocess.Popen([TLT, "train", config, "--run", run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         cwd=ROOT)
    try:
        end = time.monotonic() + 60
        metrics = run / "metrics.jsonl"
        while time.monotonic() < end and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 2):
            time.sleep(0.05)
        for _ in range(5):
            assert report(tlt, run)["run"]["state"] == "running"
    finally:
        p.kill()
        p.wait()
    assert len(report(tlt, run)["columns"]["step"]) >= 3
