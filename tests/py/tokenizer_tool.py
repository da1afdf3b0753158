"""Drives tests/unit/tokenizer/tokenize_tool from the tokenizer tests."""
import json
import os
import subprocess

import pytest
from conftest import ROOT

TOOL = os.environ.get("TLT_TOKENIZE_TOOL",
                      os.path.join(ROOT, "build", "tests", "unit", "tokenizer", "tokenize_tool"))


def run_tool(*args, stdin=b"", env=None):
    if not os.access(TOOL, os.X_OK):
        pytest.skip(f"{TOOL} is not built")
    p = subprocess.run([TOOL, *map(str, args)], input=stdin, capture_output=True, timeout=600,
                       env={**os.environ, **(env or {})})
    assert p.returncode == 0, p.stderr.decode(errors="replace")
    return p.stdout


def encode(directory, text, special):
    mode = "special" if special else "encode"
    return json.loads(run_tool(directory, mode, stdin=text.encode()))


def decode(directory, ids):
    return run_tool(directory, "decode", stdin=json.dumps(ids).encode())


def chats(directory, cases, template=None):
    """cases: dicts with messages, variables, add_generation_prompt; answers: text and ids, or error."""
    lines = "\n".join(json.dumps(c) for c in cases).encode()
    env = {"TOKENIZE_TEMPLATE": str(template)} if template else None
    return [json.loads(line) for line in run_tool(directory, "chat", stdin=lines, env=env).splitlines()]
