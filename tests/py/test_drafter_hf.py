"""The learned drafter's forward against transformers' decoder layer on random shapes.

tools/golden_drafter.py makes the directory, tests/unit/model/test_drafter compares.
Environment: TLT_TEST_DRAFTER (default build/tests/unit/model/test_drafter).
Needs torch, transformers and safetensors. Run alone: pytest tests/py/test_drafter_hf.py
"""
import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("safetensors")

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEST = pathlib.Path(
    os.environ.get("TLT_TEST_DRAFTER", ROOT / "build/tests/unit/model/test_drafter"))
SHAPES = [  # hidden, heads, kv_heads, head_dim, pairs
    (96, 3, 1, 64, 1),
    (45, 9, 3, 10, 70),
    (33, 3, 3, 2, 100),
]


@pytest.mark.skipif(not TEST.exists(), reason=f"{TEST} is not built")
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_is_that_of_transformers(shape, tmp_path):
    hidden, heads, kv_heads, head_dim, pairs = map(str, shape)
    subprocess.run(
        [sys.executable, ROOT / "tools/golden_drafter.py", tmp_path, "--hidden", hidden, "--heads",
         heads, "--kv-heads", kv_heads, "--head-dim", head_dim, "--pairs", pairs, "--seed", pairs],
        check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    done = subprocess.run([TEST], capture_output=True, text=True,
                          env={**os.environ, "TLT_DRAFTER_GOLDEN": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
