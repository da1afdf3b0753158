"""Shared by the python tests: the program under test and the embedded model."""
import json
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TLT = os.path.abspath(os.environ.get("TLT_BIN", os.path.join(ROOT, "build", "tlt")))
TINY = os.path.join(ROOT, "models", "tiny-countdown")
SMOLLM2 = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct")


def run_tlt(*args, stdin=None, env=None, timeout=600):
    """Run tlt; returns (exit code, stdout, stderr)."""
    p = subprocess.run([TLT, *map(str, args)], input=stdin, capture_output=True, timeout=timeout,
                       env={**os.environ, **(env or {})}, cwd=ROOT)
    return p.returncode, p.stdout, p.stderr.decode(errors="replace")


def read_jsonl(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


@pytest.fixture(scope="session")
def tlt():
    if not os.access(TLT, os.X_OK):
        pytest.skip(f"{TLT} is not built")
    return run_tlt


@pytest.fixture(scope="session")
def tiny():
    if not os.path.exists(os.path.join(TINY, "model.safetensors")):
        pytest.skip("the embedded model is not there")
    return TINY


@pytest.fixture(scope="session")
def smollm2():
    if not os.path.exists(os.path.join(SMOLLM2, "model.safetensors")):
        pytest.skip("SmolLM2 is not there (make smollm2)")
    return SMOLLM2


@pytest.fixture(scope="session")
def processor():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        flags = next((line for line in f if line.startswith("flags")), "")
    return set(flags.split())
