"""Verifiers and generators against reasoning-gym, where the definitions coincide, and against exact
arithmetic in Python. Drives `judge` (tests/unit/tasks/judge.c) and `tlt data`."""
import importlib.util
import json
import os
import random
import subprocess
from collections import Counter
from fractions import Fraction

import pytest

from conftest import ROOT

JUDGE = os.environ.get("TLT_JUDGE", os.path.join(ROOT, "build/tests/unit/tasks/judge"))


def judge(rows):
    """[(verifier, expected, numbers, target, completion)] to [(score, parsed)]."""
    if not os.access(JUDGE, os.X_OK):
        pytest.skip(f"{JUDGE} is not built")
    text = "".join("\t".join([v, e, " ".join(map(str, n)), str(t), c.replace("\n", "\x1f")]) + "\n"
                   for v, e, n, t, c in rows)
    out = subprocess.run([JUDGE], input=text.encode(), capture_output=True, check=True).stdout
    pairs = [line.split() for line in out.decode().splitlines()]
    assert len(pairs) == len(rows)
    return [(float(s), p == "1") for s, p in pairs]


def random_expression(rng, numbers):
    """An expression tree over the numbers in random order: text and value (None: divided by 0)."""
    if len(numbers) == 1:
        return str(numbers[0]), Fraction(numbers[0])
    cut = rng.randrange(1, len(numbers))
    a, x = random_expression(rng, numbers[:cut])
    b, y = random_expression(rng, numbers[cut:])
    op = rng.choice("+-*/")
    text = f"({a}{op}{b})"
    if x is None or y is None or (op == "/" and y == 0):
        return text, None
    return text, {"+": x + y, "-": x - y, "*": x * y}[op] if op != "/" else x / y


def test_countdown_against_exact_arithmetic():
    rng = random.Random(1)
    rows, want = [], []
    for _ in range(5000):
        numbers = [rng.randint(1, 30) for _ in range(rng.randint(1, 6))]
        used = list(numbers)
        rng.shuffle(used)
        if rng.random() < 0.2:
            used[0] += 1
        if rng.random() < 0.1:
            used.append(numbers[0])
        text, value = random_expression(rng, used)
        hit = value is not None and value.denominator == 1
        target = int(value) if hit and rng.random() < 0.7 else rng.randint(1, 100)
        rows.append(("countdown", "", numbers, target, f"tries\nanswer {text}"))
        want.append(value == target and Counter(used) == Counter(numbers))
    got = judge(rows)
    assert sum(want) > 1000
    for row, (score, parsed), right in zip(rows, got, want):
        assert parsed and score == right, row


def test_countdown_against_reasoning_gym():
    gym = pytest.importorskip("reasoning_gym")
    rng = random.Random(2)
    data = gym.create_dataset("countdown", size=400, seed=5, min_numbers=3, max_numbers=5)
    rows, entries, answers = [], [], []
    for entry in data:
        meta = entry["metadata"]
        used = list(meta["numbers"])
        rng.shuffle(used)
        candidates = [entry["answer"], random_expression(rng, used)[0],
                      random_expression(rng, used[1:])[0], entry["answer"] + "+0", ""]
        for text in candidates:
            # Theirs accepts a sign before a number and anything sympy does; ours only + - * / ( ).
            if text.lstrip("(").startswith("-") or "(-" in text or "**" in text:
                continue
            rows.append(("countdown", "", meta["numbers"], meta["target"], f"answer {text}"))
            entries.append(entry)
            answers.append(text)
    got = judge(rows)
    right = 0
    for entry, text, (score, _) in zip(entries, answers, got):
        theirs = data.score_answer(text, entry) == 1.0
        right += theirs
        assert (score == 1.0) == theirs, (entry["metadata"], text)
    assert right > 200


def test_numeric_against_reasoning_gym():
    gym = pytest.importorskip("reasoning_gym")
    rng = random.Random(3)
    data = gym.create_dataset("chain_sum", size=300, seed=6, min_terms=2, max_terms=6, min_digits=1,
                              max_digits=6, allow_negation=True)
    rows, theirs = [], []
    for entry in data:
        value = int(entry["answer"])
        for text in (str(value), f"{value:,}", f"{value:+}", f"{value}.0", f"{value}.000",
                     str(value + rng.choice([-1, 1, 10])), str(-value), f"{value}.5", "nothing"):
            rows.append(("numeric", entry["answer"], [], 0, f"some steps\nanswer {text}"))
            theirs.append(data.score_answer(text, entry) == 1.0)
    for row, (score, parsed), right in zip(rows, judge(rows), theirs):
        assert (score == 1.0) == right, row
        assert parsed == ("nothing" not in row[4])


def test_numeric_against_fractions():
    rng = random.Random(4)
    rows, want = [], []
    for _ in range(4000):
        a, b = rng.randint(-9999, 9999), rng.choice([1, 2, 4, 5, 8, 10, 16, 3, 7])
        k = rng.randint(1, 50)
        value = Fraction(a, b)
        digits = f"{a * k}/{b * k}"
        if b not in (3, 7) and rng.random() < 0.5:
            digits = format(float(value), ".6f") + "0" * rng.randint(0, 30)
        other = value + rng.choice([0, 0, Fraction(1, 1000000)])
        rows.append(("numeric", f"{other.numerator}/{other.denominator}", [], 0, f"answer {digits}"))
        want.append(other == value)
    for row, (score, parsed), right in zip(rows, judge(rows), want):
        assert parsed and (score == 1.0) == right, row


def lines_of(tlt, *args):
    code, out, err = tlt("data", *args)
    assert code == 0, err
    return [json.loads(line) for line in out.decode().splitlines()]


def test_traces_score_the_same_everywhere(tlt):
    gym = pytest.importorskip("reasoning_gym")
    spec = importlib.util.spec_from_file_location("reward", os.path.join(ROOT, "examples/reward.py"))
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    data = gym.create_dataset("countdown", size=1, seed=1)
    problems = lines_of(tlt, "countdown", "--count", 1000, "--seed", 3, "--traces")
    rows = [("countdown", "", p["meta"]["numbers"], p["meta"]["target"], p["completion"])
            for p in problems]
    right = 0
    for p, (score, parsed) in zip(problems, judge(rows)):
        answer = p["completion"].rsplit("answer ", 1)[1]
        theirs = data.score_answer(answer, {"metadata": p["meta"]}) == 1.0
        assert parsed and (score == 1.0) == theirs, p
        assert example.reward(p["completion"], p["meta"]) == (1.0 if theirs else 0.1)
        right += theirs
    assert 400 < right < 650


def test_splits_are_disjoint(tlt):
    seen = {}
    for seed, split in enumerate(["train", "rl", "eval"]):
        for p in lines_of(tlt, "countdown", "--count", 2000, "--seed", seed, "--split", split):
            key = (tuple(sorted(p["meta"]["numbers"])), p["meta"]["target"])
            assert seen.setdefault(key, split) == split
    assert len(seen) == 6000  # and distinct within each


def test_arithmetic_answers(tlt):
    for p in lines_of(tlt, "arithmetic", "--count", 1000, "--seed", 2, "--traces"):
        assert eval(p["meta"]["expression"]) == int(p["answer"])
        assert p["completion"].endswith(f"\nanswer {p['answer']}")
