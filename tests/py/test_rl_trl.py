"""The golden numbers that tests/unit/rl/test_loss.c holds the C code to are what TRL computes now.
Run alone: python -m pytest tests/py/test_rl_trl.py"""
import json
import math
import os
import sys

import pytest
from conftest import ROOT

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("trl", reason="TRL is not installed")
sys.path.insert(0, os.path.join(ROOT, "tools"))


def same(a, b, where):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for k in a:
            same(a[k], b[k], f"{where}.{k}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{where}[{i}]")
    elif isinstance(a, float):
        assert math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9), (where, a, b)
    else:
        assert a == b, where


def test_golden_is_what_trl_computes():
    import golden_rl

    with open(golden_rl.PATH, encoding="utf-8") as f:
        stored = json.load(f)
    same(stored, json.loads(json.dumps(golden_rl.build())), "losses.json")
