"""Starts, watches and hurts runs of `tlt train --workers`. Every wait has an end."""
import os
import re
import signal
import subprocess
import time

from conftest import ROOT, TLT, read_jsonl

TIMED = ("time/", "spec/", "drafter/", "workers/", "mem/", "cost/", "sys/")


def words(pid, what):
    try:
        with open(f"/proc/{pid}/{what}", "rb") as f:
            return f.read().decode(errors="replace").split("\0")
    except OSError:  # gone
        return []


def state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def soon(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {what}")


class Run:
    """A `tlt train` in a session of its own. Its processes are those with the run directory in their arguments."""

    def __init__(self, config, directory, *flags, env=None, command=None):
        self.directory = str(directory)
        self.log, self.out = self.directory + ".err", self.directory + ".out"
        command = command or [TLT, "train", str(config), "--run", self.directory]
        with open(self.log, "ab") as err, open(self.out, "wb") as out:
            self.p = subprocess.Popen([*command, *map(str, flags)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                      env={**os.environ, **(env or {})}, cwd=ROOT, start_new_session=True)

    def processes(self):
        pids = [int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) != os.getpid()]
        return [p for p in pids if any(self.directory in w for w in words(p, "cmdline")) and state(p) not in "ZX"]

    def workers(self):
        """Process of every rank."""
        found = {}
        for pid in self.processes():
            for word in words(pid, "environ"):
                if word.startswith("OMPI_COMM_WORLD_RANK=") and state(pid) not in "ZX":
                    found[int(word.partition("=")[2])] = pid
        return found

    def wait(self, seconds=60):
        """Exit code."""
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"still running after {seconds} s\n{self.errors()}") from None

    def wait_for_step(self, step, seconds=60):
        """Until the checkpoint of a step or a later one is there."""
        def reached():
            assert self.p.poll() is None, f"ended before step {step}: exit code {self.p.returncode}\n{self.errors()}"
            return self.saved() >= step
        soon(reached, seconds, f"the checkpoint of step {step}\n{self.errors()}")

    def saved(self):
        try:
            names = os.listdir(os.path.join(self.directory, "checkpoints"))
        except OSError:
            return -1
        return max((int(n[5:]) for n in names if re.fullmatch(r"step-\d+", n)), default=-1)

    def wait_until_gone(self, seconds, but=()):
        """Seconds until no process but those is left."""
        start = time.monotonic()
        soon(lambda: not set(self.processes()) - set(but), seconds, f"processes gone\n{self.errors()}")
        return time.monotonic() - start

    def errors(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def end(self):
        """Leave nothing behind, whatever happened."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.p.wait(30)

    def outcome(self):
        """What may not depend on workers: weights, metrics that timing cannot change, every answer."""
        with open(self.out, encoding="utf-8") as f:
            sha = f.read().strip().splitlines()[-1].split()[-1]
        lines = [{k: v for k, v in line.items() if not k.startswith(TIMED)}
                 for line in read_jsonl(os.path.join(self.directory, "metrics.jsonl"))]
        rollouts, top = {}, os.path.join(self.directory, "rollouts")
        for name in os.listdir(top):
            with open(os.path.join(top, name), "rb") as f:
                rollouts[name] = f.read()
        return sha, lines, rollouts


def assert_same(got, want, what=""):
    """Outcomes are equal; says where they part first."""
    for a, b in zip(got[1], want[1]):
        differ = {k: (a.get(k), b.get(k)) for k in {*a, *b} if a.get(k) != b.get(k)}
        assert not differ, f"{what}: step {b['step']}: {differ}"
    assert len(got[1]) == len(want[1]), what
    assert sorted(got[2]) == sorted(want[2]), what
    for name in want[2]:
        assert got[2][name] == want[2][name], f"{what}: {name}"
    assert got[0] == want[0], what
