"""tlt drafter train and eval through the program: a short training is worth something, its directory is whole,
and what goes wrong is said in one line.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_drafter_job.py"""
import json
import os
import signal
import subprocess
import time

import pytest
from conftest import ROOT, TINY, TLT, run_tlt

TRAIN = ["drafter", "train", "--model", TINY, "--task", "countdown", "--max-tokens", "200", "--threads", "1"]


@pytest.fixture(scope="module")
def drafter(tmp_path_factory, tlt, tiny):
    out = str(tmp_path_factory.mktemp("drafter") / "d")
    code, text, err = tlt(*TRAIN, "--out", out, "--count", 96, "--samples", 2, "--epochs", 2, "--step-tokens", 512,
                          "--json")
    assert code == 0, err
    return out, json.loads(text)


def test_training_makes_a_whole_directory_that_is_worth_something(tlt, drafter):
    out, summary = drafter
    assert sorted(os.listdir(out)) == ["config.json", "generation_config.json", "hot_tokens.json", "model.safetensors"]
    assert summary["held_after"]["overlap"][0] > summary["held_before"]["overlap"][0] + 0.2
    code, text, err = tlt("check", out)
    assert code == 0 and "EAGLE-1" in text.decode(), err


def test_eval_counts_what_is_accepted(tlt, drafter):
    out, _ = drafter
    code, text, err = tlt("drafter", "eval", "--model", TINY, "--drafter", out, "--task", "countdown", "--count", 12,
                          "--policy", "fixed:3_2_8", "--threads", 1, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["accept_length"] > 1.2 and found["hot_share"] > 0.99
    assert abs(found["accepted_by_depth"][0] - found["sum_min_pq"][0]) < 0.25
    eagle = found["sources"]["eagle"]
    assert eagle["drafted"] >= eagle["reached"] >= eagle["accepted"] > 100
    assert sum(b["edges"] for b in found["calibration"]) == eagle["reached"]


def test_training_repeats_to_the_bit(tmp_path, tlt, drafter):
    files = []
    for name in ("a", "b"):
        code, _, err = tlt(*TRAIN, "--out", tmp_path / name, "--count", 20, "--epochs", 1, "--seed", 4)
        assert code == 0, err
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, tlt, tiny):
    out = tmp_path / "d"
    p = subprocess.Popen([TLT, *TRAIN, "--out", str(out), "--count", "60", "--epochs", "1000"], cwd=ROOT,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.time() + 120
    while not (out / "model.safetensors").exists() and time.time() < deadline and p.poll() is None:
        time.sleep(0.05)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=120)
    assert p.returncode == 75 and b"--init" in err, err
    code, _, text = run_tlt("check", out)
    assert code == 0, text


@pytest.mark.parametrize("flags, code, word", [
    (["--task", "chess"], 2, "chess"), (["--unroll", "9"], 2, "--unroll"), (["--lr", "x"], 2, "--lr"),
    (["--init", "/nonexistent"], 3, "/nonexistent"), (["--prompts", "/nonexistent"], 2, "either")])
def test_mistakes_are_told_in_one_line(tmp_path, flags, code, word):
    got, _, err = run_tlt(*TRAIN, "--out", tmp_path / "d", *flags)
    assert got == code and word in err.strip().splitlines()[-1], err
    assert not (tmp_path / "d" / "model.safetensors").exists()


def test_eval_of_a_drafter_for_another_model_is_refused(tmp_path, tlt, drafter):
    from tiny_models import write_model
    other = write_model(str(tmp_path / "other"), "llama", 3)
    code, _, err = tlt("drafter", "eval", "--model", other, "--drafter", drafter[0], "--task", "countdown")
    assert code == 3 and "hidden_size" in err, err
