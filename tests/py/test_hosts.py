"""Several hosts change no token, no metric and no weight, and a run survives what happens to one of them.

mpirun starts workers over TCP on the machines of a small network (hosts.py), whose clocks differ; with speculation,
idle work and training of the drafter. Then a worker is killed, mpirun is signalled, a cable is pulled, and hosts have
different drafters. Skipped where network namespaces cannot be had: they need root.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_hosts.py"""
import os
import re
import shutil
import signal
import subprocess

import pytest
from conftest import TINY, read_jsonl
from hosts import HostRun, Network, missing
from test_trace import check as check_trace
from test_workers import DRAFTER, write_config
from tiny_models import write_drafter
from worker_run import Run, assert_same

LEARN = ["--set", "drafter.train=idle", "--set", "drafter.min_share=0.2"]


@pytest.fixture(scope="module")
def network(tmp_path_factory, tlt, tiny):
    why = missing()
    if why:
        pytest.skip(why)
    net = Network(tmp_path_factory.mktemp("network"))
    yield net
    net.close()


def done(run, seconds=60):
    """The outcome of a run that has to succeed."""
    try:
        assert run.wait(seconds) == 0, run.errors()
        run.wait_until_gone(5)
        return run.outcome()
    finally:
        run.end()


@pytest.fixture(scope="module")
def plain(tmp_path_factory, tlt, tiny):
    """Configuration of an algorithm, and what one worker makes of it without speculation."""
    top, made = tmp_path_factory.mktemp("plain"), {}

    def of(algorithm):
        if algorithm not in made:
            config = write_config(top / f"{algorithm}.yaml", algorithm, steps=8, every=4, checkpoint=2)
            made[algorithm] = config, done(Run(config, top / algorithm, "--workers", 1))
        return made[algorithm]
    return of


# ---- the same bits --------------------------------------------------------------------------------


def check_clocks(directory, workers):
    """Every worker's track of trace.json is where the steps are, and full."""
    events = check_trace(directory)
    spans = [(e["tid"], e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X" and e["cat"] in ("step", "work")]
    steps = max(tid for tid, _, _ in spans)
    begin, end = (pick(x for tid, *x in spans if tid == steps) for pick in (min, max))
    for tid in range(1, workers + 1):
        own = [x for x in spans if x[0] == tid]
        assert own and all(begin[0] - 1e5 < a <= b < end[1] + 1e5 for _, a, b in own), (tid, begin, end, own)
        assert sum(b - a for _, a, b in own) > 0.8 * (end[1] - begin[0]), (tid, begin, end, own)


@pytest.mark.parametrize("hosts, algorithm, draft, policy, order", [
    ("tlt-0:1,tlt-1:1", "grpo", "auto", "planner", "[gradient, drafter, lend]"),
    ("tlt-0:2,tlt-1:2", "dapo", "eagle", "fixed:4_2_8", "[drafter, gradient]"),
    ("tlt-1:2,tlt-2:1", "dapo", "auto", "fixed:4_1_5", "[gradient, drafter, lend]"),  # mpirun's own has no worker
])
def test_hosts_change_no_bit(tmp_path, network, plain, hosts, algorithm, draft, policy, order):
    config, want = plain(algorithm)
    counts = [int(host.partition(":")[2]) for host in hosts.split(",")]
    before = network.received("tlt-1")
    run = HostRun(network, hosts, config, tmp_path / "run", "--set", f"speculation.draft={draft}", "--set",
                  f"speculation.policy={policy}", "--set", f"drafter.path={DRAFTER}", "--set",
                  f"drafter.idle_order={order}", *LEARN)
    assert_same(done(run), want, hosts)
    machine = read_jsonl(tmp_path / "run" / "machine.json")[0]
    assert (machine["hosts"], machine["workers"]) == (len(counts), sum(counts)), machine
    assert network.received("tlt-1") - before > 50e6, "gradients of other hosts have not come"
    lines = [m for m in read_jsonl(tmp_path / "run" / "metrics.jsonl") if m["step"]]
    first = 0
    for host, n in zip(hosts.split(","), counts):  # of one host's workers the quicker one may take all
        own, first = range(first, first + n), first + n
        assert any(m[f"workers/{w}/decoding"] for m in lines for w in own), f"{host} decoded nothing"
    busy = [m[f"workers/{w}/{what}"] for m in lines for w in range(counts[0], sum(counts))
            for what in ("gradient", "drafter", "lending")]
    assert any(busy), "the other host did no idle work"
    assert any(m["drafter/micro_steps"] for m in lines), "nothing was learned"
    if policy != "planner":  # which drafts only where that has been quicker
        assert any(m["spec/accepted"] for m in lines), "nothing was ever accepted"
    check_clocks(run.directory, sum(counts))


# ---- when something happens to a host --------------------------------------------------------------


@pytest.fixture
def running(tmp_path, network, plain):
    """A run on two hosts with everything on, begun when called, and what it has to come to."""
    runs = []

    def begin(hosts, options=()):
        config, want = plain("dapo")
        runs.append(HostRun(network, hosts, config, tmp_path / "run", "--set", f"drafter.path={DRAFTER}", "--set",
                            "speculation.draft=auto", *LEARN, options=options))
        runs[0].wait_for_step(2)
        return config, want, runs[0]
    yield begin
    for run in runs:
        run.end()


def test_a_killed_worker_of_another_host(running, network):
    config, want, run = running("tlt-0:2,tlt-1:2")
    workers = run.workers()
    assert [network.processes()[workers[w]] for w in range(4)] == ["tlt-0", "tlt-0", "tlt-1", "tlt-1"]
    os.kill(workers[3], signal.SIGKILL)
    assert run.wait(30) not in (0, 75)  # mpirun's own: 128 + 9
    run.wait_until_gone(5)
    assert re.search(r"process rank 3 .*tlt-1 exited on signal 9", run.errors()), run.errors()
    assert 2 <= run.saved() < 8
    assert_same(done(Run(config, run.directory, "--workers", 1, "--resume")), want)


def test_interrupted(running):
    """SIGUSR1, which mpirun passes on; then other hosts, and one more, read the checkpoint."""
    config, want, run = running("tlt-1:2,tlt-2:1")
    os.kill(run.named("mpirun"), signal.SIGUSR1)
    assert run.wait(30) == 75, run.errors()
    run.wait_until_gone(5)
    assert "--resume" in run.errors() and 2 <= run.saved() < 8, run.errors()
    assert_same(done(HostRun(run.network, "tlt-0:1,tlt-1:1,tlt-2:1", config, run.directory, "--resume")), want)


def test_a_host_that_can_no_longer_be_reached(running, network):
    """Open MPI notices that at once when told to look often; by itself it takes minutes."""
    options = ["--mca", "oob_tcp_keepalive_time", "1", "--mca", "oob_tcp_keepalive_intvl", "1", "--mca",
               "oob_tcp_keepalive_probes", "2"]
    _, _, run = running("tlt-1:1,tlt-2:1", options)
    try:
        subprocess.run(network.inside("tlt-2", "ip", "link", "set", "eth0", "down"), check=True)
        assert run.wait(30) not in (0, 75)
        run.wait_until_gone(10)
    finally:
        subprocess.run(network.inside("tlt-2", "ip", "link", "set", "eth0", "up"), check=True)


def test_hosts_with_different_drafters_are_refused(tmp_path, network, plain):
    config, _ = plain("grpo")
    path = shutil.copytree(DRAFTER, tmp_path / "drafter")
    other = write_drafter(str(tmp_path / "other"), TINY, 8, intermediate_size=64)
    subprocess.run(network.inside("tlt-1", "mount", "--bind", other, path), check=True)
    run = HostRun(network, "tlt-0:1,tlt-1:1", config, tmp_path / "run", "--set", f"drafter.path={path}", "--set",
                  "speculation.draft=eagle", *LEARN)
    try:
        assert run.wait(30) == 8, run.errors()
        assert "tlt: workers disagree: drafter: worker 1 has " in run.errors(), run.errors()
        run.wait_until_gone(5)
    finally:
        run.end()
        subprocess.run(network.inside("tlt-1", "umount", path), check=True)
