"""What a person sees of `tlt train`: a view on a terminal, plain lines elsewhere.

Each run is inside a terminal (tests/py/terminal.py) of some size, alone and through the launcher of several
workers. Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_view.py"""
import os
import re
import time

import pytest
from conftest import TINY, TLT, run_tlt
from terminal import Screen, Terminal

CONFIG = """
model: {model}
seed: 3
steps: {steps}
data: {{task: countdown, count: 12, seed: 5}}
eval: {{every: 2, count: 6, samples: 1}}
rollout: {{prompts: 4, samples: {samples}, max_tokens: 200, batch: 8}}
speculation: {{draft: suffix}}
log: {{rollouts: none}}
"""

HEAD = re.compile(r"^step (\d+)/(\d+)  [━─=-]+")
PLAIN = re.compile(r"^step +\d+/\d+  reward -?[0-9.]+  length \d+  cut [0-9.]+ %  (loss [-+][0-9.]+|no gradient)  grad "
                   r"[0-9.]+  [0-9.]+ s(  held-back [0-9.]+ %)?  [0-9:s?]+ left(  accept [0-9.]+)?(  idle \d+ %)?$")

PART = (r"  (reward -?[0-9.]+|length \d+|cut [0-9.]+ %|loss [-+][0-9.]+|no gradient|grad [0-9.]+|[0-9.]+ s|held-back [0-9.]+ %|"
        r"[0-9:s?]+ left|accept [0-9.]+|idle \d+ %)")
CUT = re.compile(rf"^step +\d+/\d+({PART})*$")  # what fits


def command(tmp_path, steps=4, workers=1, samples=4):
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.format(model=TINY, steps=steps, samples=samples))
    flags = ["--workers", str(workers)] if workers > 1 else []
    return [TLT, "train", str(config), "--run", str(tmp_path / "run"), *flags]


def view(lines):
    """The lines of the view, if it is there."""
    at = [i for i, line in enumerate(lines) if HEAD.match(line)]
    return lines[at[-1]:] if at else []


def steps_of(lines):
    """Steps whose plain line stands on the screen, and that nothing else looks like one."""
    found = [re.match(r"(?:\^C)?step +(\d+)/\d+  .*reward", line) for line in lines]  # ^C: the terminal's own echo
    return [int(x[1]) for x in found if x]


def check_clean(t, steps):
    """After the end: every plain line is there once, whole, and nothing of the view is."""
    lines = [line.rstrip() for line in t.screen.lines]
    plain = [line for line in lines if line.startswith("step ")]
    assert steps_of(lines) == list(range(1, steps + 1)), lines
    assert all(CUT.match(line) and len(line) <= t.screen.columns for line in plain), plain
    assert not any(HEAD.match(line) or line.startswith(("rollout ", "update ", "evaluation ")) for line in lines), lines


@pytest.mark.parametrize("workers", [1, 2])
def test_the_view_is_drawn_and_removed(tmp_path, tlt, tiny, workers):
    t = Terminal(command(tmp_path, steps=99, workers=workers, samples=24), 110, 30)
    try:
        t.until(lambda lines: len(view(lines)) >= 3 and "reward" in view(lines)[2])
        seen = view(t.screen.lines)
        assert re.match(r"(rollout|update|evaluation|saving)", seen[1]), seen
        t.until(lambda lines: any(re.match(r"reward [0-9.]+ [▁-█]+  length \d+  accept [0-9.]+  idle \d+ %  held-back [0-9.]+ % "
                                           r"\(step \d+\)", line) for line in lines))
        t.until(lambda lines: any(re.match(r"rollout \d+/96 answers  [━─]+  \d+ tokens/s", line) for line in lines))
        t.interrupt()
        assert t.wait() == 75
    finally:
        t.close()
    check_clean(t, max(steps_of(t.screen.lines)))
    assert t.screen.colours


def test_the_end_of_a_run_is_the_last_thing_seen(tmp_path, tlt, tiny):
    t = Terminal(command(tmp_path), 110, 30)
    try:
        assert t.wait() == 0
    finally:
        t.close()
    check_clean(t, 4)
    assert "SHA-256 of the final weights" in t.screen.lines[-2]


@pytest.mark.parametrize("columns, rows", [(40, 30), (100, 6), (12, 3)])
def test_narrow_and_low_terminals_get_one_line(tmp_path, tlt, tiny, columns, rows):
    t = Terminal(command(tmp_path, steps=99, samples=12), columns, rows)
    try:
        t.until(lambda lines: lines[-1] == "" and any(re.match("step [12]/99", line) for line in lines[-2:]))
        t.until(lambda lines: lines[-1] == "" and any(re.match("step [3-9]/99", line) for line in lines[-2:]))
        assert all(len(line) <= columns for line in t.screen.lines)
        t.interrupt()
        assert t.wait() == 75
    finally:
        t.close()
    shown = steps_of(t.screen.lines)
    assert shown == list(range(1, len(shown) + 1))  # none where there is no room for a reward
    assert shown or columns < 20


@pytest.mark.parametrize("workers", [1, 2])
def test_resized(tmp_path, tlt, tiny, workers):
    t = Terminal(command(tmp_path, steps=99, workers=workers, samples=24), 120, 30)
    try:
        t.until(lambda lines: len(view(lines)) >= 3)
        for columns in (70, 150, 64, 100, 61):
            t.resize(columns, 30)
            after = len(t.text)
            t.until(lambda lines: len(t.text) > after + 400 and view(lines) and all(len(x) < columns for x in view(lines)))
            assert sum(bool(HEAD.match(line)) for line in t.screen.lines) <= 1, t.screen.lines
        t.resize(30, 30)
        t.until(lambda lines: any(re.match(r"^step \d+/99  (rollout|update|evaluation|saving)", line) for line in lines))
        t.until(lambda lines: re.search(r"step +2/99(  |\r)", t.text))
        t.interrupt()
        assert t.wait() == 75
    finally:
        t.close()
    assert sum(bool(HEAD.match(line)) for line in t.screen.lines) == 0, t.screen.lines


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted(tmp_path, tlt, tiny, workers):
    t = Terminal(command(tmp_path, steps=1000, workers=workers), 110, 30)
    try:
        t.until(lambda lines: any(line.startswith("rollout ") for line in lines) and 2 in steps_of(lines))
        t.interrupt()
        assert t.wait() == 75
    finally:
        t.close()
    done = max(steps_of(t.screen.lines))
    check_clean(t, done)
    assert any("--resume" in line for line in t.screen.lines), t.screen.lines


def test_killed_at_once_leaves_the_cursor_below(tmp_path, tlt, tiny):
    t = Terminal(command(tmp_path, steps=1000), 110, 30)
    try:
        t.until(lambda lines: len(view(lines)) >= 3)
        os.kill(t.pid, 9)
        assert t.wait() == -9
    finally:
        t.close()
    assert t.screen.column == 0 and t.screen.lines[-1] == "" and view(t.screen.lines)
    assert "\033[?" not in t.text  # no mode was changed


def test_an_error_is_not_hidden(tmp_path, tlt, tiny):
    line = command(tmp_path) + ["--set", "rollout.prompts=5", "--set", "algorithm.minibatches=2"]
    t = Terminal(line, 100, 30)
    try:
        assert t.wait() == 2
    finally:
        t.close()
    assert [x for x in t.screen.lines if x][-1].startswith("tlt: "), t.screen.lines


def test_without_colour_and_utf8(tmp_path, tlt, tiny):
    t = Terminal(command(tmp_path), 100, 30, env={"NO_COLOR": "1", "LANG": "C"})
    try:
        t.until(lambda lines: any("reward" in line for line in view(lines)))
        assert t.wait() == 0
    finally:
        t.close()
    assert not t.screen.colours and t.text.isascii()
    check_clean(t, 4)


def test_a_terminal_that_understands_nothing(tmp_path, tlt, tiny):
    t = Terminal(command(tmp_path), 200, 30, env={"TERM": "dumb"})
    try:
        assert t.wait() == 0
    finally:
        t.close()
    assert "\033" not in t.text
    check_clean(t, 4)


@pytest.mark.parametrize("workers", [1, 2])
def test_piped_output_is_plain(tmp_path, tlt, tiny, workers):
    code, _, err = run_tlt(*command(tmp_path, workers=workers)[1:])
    assert code == 0, err
    assert "\033" not in err and "\r" not in err
    lines = [line for line in err.splitlines() if line.startswith("step ")]
    assert len(lines) == 4 and all(PLAIN.match(line) for line in lines), err


def test_the_terminal_of_these_tests():
    s = Screen(10, 3)
    s.feed("a\r\nbcd\r\n\033[2Axx\033[K\r\n\033[1mhello, world!\033[0m")
    assert s.lines == ["xx", "hello, wor", "ld!"] and s.colours
    s.feed("\r\033[2A\033[J")
    assert s.lines == [""]
    with pytest.raises(AssertionError):
        s.feed("\033[?25l" + " " * 20)
    start = time.monotonic()
    t = Terminal(["sh", "-c", "sleep 100"])
    t.close()
    assert time.monotonic() - start < 5
