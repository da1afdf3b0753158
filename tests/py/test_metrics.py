"""metrics.jsonl against docs/metrics.md, both ways, and what a step costs.

Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_metrics.py"""
import json
import os
import re
import threading
import time

import pytest
from conftest import ROOT, TINY, read_jsonl

CONFIG = """
model: {model}
seed: 3
steps: 3
data: {{task: countdown, count: 8, seed: 5}}
eval: {{every: 2, count: 4, samples: 2}}
rollout: {{prompts: 3, samples: 4, max_tokens: 80, batch: 12}}
speculation: {{draft: suffix, policy: "fixed:4_1_4"}}
cost: {{core_hour: 0.05}}
log: {{rollouts: none, tensorboard: false}}
"""
DRAFTER = ["--set", "speculation.draft=auto"]

WORDS = {"SOURCE": r"(suffix|eagle|both)", "DEPTH": r"([1-9]|1[0-5]|16\+)", "W": r"[0-7]", "STATE": r"[a-z]+",
         "N": r"[0-9]+"}


def documented():
    """{pattern of a key: the key as written} of the first column of every table, up to fine-tuning's."""
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as f:
        text = f.read().split("## Supervised fine-tuning")[0]
    keys = {}
    for row in re.findall(r"^\| (`[^|]*) \|", text, re.M):
        for key in re.findall(r"`([^`]+)`", row):
            parts = re.split("(" + "|".join(sorted(WORDS, key=len, reverse=True)) + ")", key)
            pattern = "".join(WORDS.get(p, re.escape(p)) for p in parts)
            assert pattern not in keys, f"twice: {key}"
            keys[pattern] = key
    return keys


def write_config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG.format(model=TINY))
    return path


def keys_of(run):
    return {key for line in read_jsonl(run / "metrics.jsonl") for key in line}


def test_every_key_is_documented_and_every_documented_key_exists(tmp_path, tlt, tiny):
    found = set()
    for i, flags in enumerate([[], DRAFTER]):
        run = tmp_path / f"run{i}"
        code, _, err = tlt("train", write_config(tmp_path), "--run", run, "--workers", 2, *flags)
        assert code == 0, err
        found |= keys_of(run)
    keys = documented()
    assert len(keys) > 100
    unknown = sorted(k for k in found if not any(re.fullmatch(p, k) for p in keys))
    assert not unknown, "not in docs/metrics.md"
    absent = sorted(key for p, key in keys.items() if not any(re.fullmatch(p, k) for k in found))
    assert not absent, "in docs/metrics.md, but in no line"


def test_every_row_has_a_unit_and_a_value():
    with open(os.path.join(ROOT, "docs", "metrics.md"), encoding="utf-8") as f:
        rows = [line for line in f if line.startswith("| `")]
    assert all(len(r.split(" | ")) == 4 and r.split(" | ")[1].strip() and r.split(" | ")[2].strip() for r in rows)


def costs(run):
    return [line for line in read_jsonl(run / "metrics.jsonl") if line["step"] > 0]


@pytest.mark.parametrize("workers", [1, 2])
def test_cost_of_a_step(tmp_path, tlt, tiny, workers):
    run = tmp_path / "run"
    before = os.times()
    code, _, err = tlt("train", write_config(tmp_path), "--run", run, "--threads", 2,
                       *(["--workers", workers] if workers > 1 else []), env={"TLT_POWERCAP": str(tmp_path / "none")})
    after = os.times()
    assert code == 0, err
    lines = costs(run)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert 0 < sum(x["cost/cpu_seconds"] for x in lines) <= spent
    for x in lines:
        wall = x["workers/seconds"] / workers
        assert x["cost/cpu_seconds"] <= 1.2 * 2 * wall + 0.1
        assert x["cost/cpu_seconds_per_token"] == x["cost/cpu_seconds"] / x["completions/tokens"]
        accepted = x["spec/accepted"]
        want = x["cost/cpu_seconds"] / accepted if accepted else None
        assert x["cost/cpu_seconds_per_accepted_token"] == want
        assert abs(x["cost/core_hours"] - 2 * wall / 3600) < 0.02 * x["cost/core_hours"] + 1e-6
        assert abs(x["cost/price"] - 0.05 * x["cost/core_hours"]) < 1e-12
        assert x["cost/joules"] is None


def write_package(root, microjoules):
    zone = root / "intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    for name, value in (("name", "package-0"), ("max_energy_range_uj", 10**12), ("energy_uj", microjoules)):
        if name == "energy_uj" or not (zone / name).exists():
            (zone / "new").write_text(f"{value}\n")
            (zone / "new").rename(zone / name)


@pytest.mark.parametrize("workers", [1, 2])
def test_joules_are_what_the_counters_say(tmp_path, tlt, tiny, workers):
    """A counter that runs at 50 W: the joules of the steps are 50 W x their time, once per host."""
    root, stop = tmp_path / "powercap", threading.Event()
    begin = time.monotonic()

    def count():
        while not stop.wait(0.002):
            write_package(root, int(50e6 * (time.monotonic() - begin)))

    write_package(root, 0)
    counter = threading.Thread(target=count)
    counter.start()
    try:
        code, _, err = tlt("train", write_config(tmp_path), "--run", tmp_path / "run",
                           *(["--workers", workers] if workers > 1 else []), env={"TLT_POWERCAP": str(root)})
    finally:
        stop.set()
        counter.join()
    assert code == 0, err
    lines = costs(tmp_path / "run")
    wall = sum(x["workers/seconds"] for x in lines) / workers
    joules = sum(x["cost/joules"] for x in lines)
    assert abs(joules - 50 * wall) < 0.1 * 50 * wall + 5, (joules, wall)


def test_machine_file(tmp_path, tlt, tiny):
    config, run = write_config(tmp_path), tmp_path / "run"
    for steps in (1, 2):
        flags = ["--resume", "--workers", 2] if steps > 1 else []
        code, _, err = tlt("train", config, "--run", run, "--set", f"steps={steps}", *flags)
        assert code == 0, err
    machine = json.loads((run / "machine.json").read_text())
    assert machine["cores"] == os.cpu_count() and machine["workers"] == 2 and machine["processor"]
    assert machine["numerics"] in ("portable", "avx512bf16", "amx") and machine["model"] == TINY
    assert [s["after_step"] for s in machine["starts"]] == [0, 1]
    assert [s["workers"] for s in machine["starts"]] == [1, 2]
    assert machine["starts"][0]["started"] <= machine["starts"][1]["started"] == machine["started"]
    (run / "machine.json").write_text("{")  # damaged: begun anew, and the run goes on
    code, _, err = tlt("train", config, "--run", run, "--set", "steps=3", "--resume")
    assert code == 0 and "earlier starts are forgotten" in err, err
    assert [s["after_step"] for s in json.loads((run / "machine.json").read_text())["starts"]] == [2]
