"""Drafter training against torch on random shapes, and the program's `drafter train`.

Drives build/tests/unit/train/drafter_tool (or $TLT_DRAFTER_TOOL). Alone:
    python -m pytest tests/py/test_drafter_torch.py
"""
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(os.environ.get("TLT_DRAFTER_TOOL", ROOT / "build/tests/unit/train/drafter_tool"))
sys.path.insert(0, str(ROOT / "tools"))
import golden_drafter_train as oracle  # noqa: E402


def random_case(seed, numerics):
    r = random.Random(seed)
    kv = r.choice([1, 2, 3])
    heads, head_dim = kv * r.choice([1, 2, 4]), 2 * r.randint(2, 12)
    hidden, inter, vocab = r.randint(5, 60), r.randint(5, 90), r.randint(60, 400)
    loss = r.choice([(1, 0.1), (0, 1), (0.5, 0.5), (1, 0)])
    samples = [(r.choice([1, 3, 17]), r.randint(2, 90)) for _ in range(r.randint(0, 3))] + [(2, 30)]
    words = [numerics, hidden, heads, kv, head_dim, inter, vocab, vocab // 3, seed, r.randint(1, 3),
             r.choice([1, 0.8, 0.5]), *loss, r.choice([0, 0.6, 1, 1.5]), r.choice([0, 1, 3]),
             len(samples)]
    return " ".join(map(str, words + [x for s in samples for x in s]))


def compare(line, tmp_path, threads=2):
    """(worst relative error of sums, of a tensor's gradient, of masters), cosine of gradients."""
    if not TOOL.exists():
        pytest.skip(f"{TOOL} is not built")
    out = tmp_path / "out.f32"
    subprocess.run([TOOL, line, out, str(threads)], check=True)
    got, want, c = np.fromfile(out, "<f4").astype(float), oracle.run(line), oracle.parse(line)
    assert got.shape == want.shape
    sums = 6 * c["unroll"]
    worst = [np.max(np.abs(got[:sums] - want[:sums]) / (np.abs(want[:sums]) + 1e-3))]
    sizes = [int(np.prod(s)) for s in oracle.shapes_of(c).values()]
    for first in [sums] + ([sums + sum(sizes)] if c["steps"] else []):
        off, at = 0.0, first
        for n in sizes:
            a, b = got[at:at + n], want[at:at + n]
            off = max(off, np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-12))
            at += n
        worst.append(off)
    a, b = got[sums:sums + sum(sizes)], want[sums:sums + sum(sizes)]
    return worst, float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("seed", range(1, 9))
def test_portable(seed, tmp_path):
    worst, _ = compare(random_case(seed, "portable"), tmp_path)
    print("errors of sums, gradient, masters:", worst)
    assert worst[0] < 1e-4 and worst[1] < 1e-4
    # AdamW divides by the gradient's own size: where that is rounding noise, so is the step
    assert len(worst) < 3 or worst[2] < 3e-3


@pytest.mark.parametrize("seed", range(1, 5))
def test_fast_path(seed, tmp_path, processor):
    if "avx512_bf16" not in processor:
        pytest.skip("no avx512_bf16")
    worst, cosine = compare(random_case(seed, "avx512bf16"), tmp_path)
    print("errors of sums:", worst[0], "cosine of gradients:", cosine)
    assert cosine > 0.999


# ---- the program ---------------------------------------------------------------------------------

SMALL = ["--task", "countdown", "--count", 40, "--samples", 2, "--max-tokens", 60, "--threads", 2,
         "--eval-unroll", 3]


def test_train_learns_and_repeats(tlt, tiny, tmp_path):
    runs = []
    for name in "ab":
        code, out, err = tlt("drafter", "train", "--model", tiny, "--out", tmp_path / name, *SMALL,
                             "--epochs", 4, "--lr", 0.003, "--step-tokens", 500, "--json")
        assert code == 0, err
        runs.append(json.loads(out))
    first, last = runs[0]["held_before"], runs[0]["held_after"]
    assert last["overlap"][0] > 3 * first["overlap"][0]
    assert last["cross_entropy"][0] < first["cross_entropy"][0]
    assert runs[0]["held_answers"] > 0 and runs[0]["hot_share"] == 1
    # no timing in the result: the same seed gives the same drafter
    assert runs[0]["held_after"] == runs[1]["held_after"]
    for name in ["config.json", "model.safetensors", "hot_tokens.json"]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    # go on from it
    code, out, err = tlt("drafter", "train", "--model", tiny, "--out", tmp_path / "c", *SMALL,
                         "--epochs", 1, "--lr", 0.001, "--init", tmp_path / "a", "--json")
    assert code == 0, err
    assert json.loads(out)["held_before"]["overlap"][0] == last["overlap"][0]


def test_prompts_of_a_file(tlt, tiny, tmp_path):
    lines = ['{"prompt": "3 7 25 = 46\\n"}', '{"prompt": [20, 30, 40]}', '{"prompt": "1 2 = 3\\n"}']
    (tmp_path / "p.jsonl").write_text("\n".join(lines) + "\n")
    code, out, err = tlt("drafter", "train", "--model", tiny, "--out", tmp_path / "d", "--prompts",
                         tmp_path / "p.jsonl", "--max-tokens", 40, "--epochs", 1, "--hot", 5)
    assert code == 0, err
    assert b"5 hot tokens" in out and "memory:" in err


@pytest.mark.parametrize("args, text", [
    ([], "either --task NAME or --prompts FILE"),
    (["--task", "countdown", "--prompts", "x"], "either --task NAME or --prompts FILE"),
    (["--task", "nonsense"], "nonsense"),
    (["--task", "countdown", "--hidden-loss", 0, "--token-loss", 0], "expected one above 0"),
    (["--task", "countdown", "--unroll", 9], "from 1 to 8"),
])
def test_bad_options(tlt, tiny, tmp_path, args, text):
    code, _, err = tlt("drafter", "train", "--model", tiny, "--out", tmp_path / "d", *args)
    assert code == 2 and text in err


def test_interrupt_saves(tiny, tmp_path):
    from conftest import TLT
    out = tmp_path / "d"
    p = subprocess.Popen([TLT, "drafter", "train", "--model", tiny, "--out", out, "--task",
                          "countdown", "--count", "30", "--max-tokens", "40", "--epochs", "10000",
                          "--threads", "1"], stderr=subprocess.PIPE, cwd=ROOT)
    for line in p.stderr:  # the first epoch is done
        if line.startswith(b"epoch"):
            break
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    err = p.stderr.read().decode()
    assert p.wait(60) == 75
    assert "the drafter as it is lies in" in err
    assert (out / "model.safetensors").exists() and (out / "config.json").exists()
