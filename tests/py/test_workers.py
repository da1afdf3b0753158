"""Workers change no token, no metric and no weight, and a run survives whatever happens to them.

A pairwise covering set of workers, speculation, drafter training, order of idle work, shared memory and
algorithm on the embedded model; then workers, the launcher and the user misbehave. The set is printed by
`python tests/py/test_workers.py`; TLT_FULL=1 adds the full product of workers, speculation on and off, drafter training,
order of idle work and algorithm.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_workers.py"""
import glob
import itertools
import os
import re
import shlex
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, TINY, TLT, read_jsonl, run_tlt
from covering import covering_set
from tiny_models import write_drafter
from worker_run import Run, assert_same, soon

FULL = os.environ.get("TLT_FULL") == "1"
STEPS = 12
DRAFTER = os.path.join(ROOT, "models", "tiny-countdown-drafter")

FACTORS = {
    "workers": [1, 2, 3, 4],
    "draft": ["off", "suffix", "eagle", "auto"],
    "train": ["off", "idle"],
    "idle_order": ["[gradient, drafter, lend]", "[drafter, gradient]", "[lend, gradient]"],
    "share": ["on", "off"],
    "algorithm": ["grpo", "dr-grpo", "rloo", "dapo", "gspo", "kl", "2 x 2"],
}

ALGORITHM = {
    "dapo": "name: dapo, max_gen: 2",  # constant groups are replaced
    "kl": "name: grpo, kl: 0.02",
    "2 x 2": "name: grpo, updates: 2, minibatches: 2",
}

CONFIG = """
model: {model}
seed: 3
steps: {steps}
data: {{task: countdown, count: 12, seed: 5}}
eval: {{every: {every}, count: 4, samples: 1}}
rollout: {{prompts: 4, samples: 4, max_tokens: {tokens}, batch: 6}}
speculation: {{draft: "{draft}"}}
algorithm: {{{algorithm}}}
optimizer: {{lr: 1.0e-4}}
gradient: {{micro_tokens: 512}}
checkpoint: {{every: {checkpoint}, keep: 3}}
log: {{rollouts: all}}
"""


def write_config(path, algorithm="grpo", steps=STEPS, every=6, tokens=32, draft="off", checkpoint=0):
    path.write_text(CONFIG.format(model=TINY, steps=steps, every=every, tokens=tokens, draft=draft,
                                  checkpoint=checkpoint, algorithm=ALGORITHM.get(algorithm, f"name: {algorithm}")))
    return path


def flags_of(row, drafter):
    flags = ["--workers", row["workers"], "--threads", row["workers"]]
    for key, value in (("speculation.draft", row["draft"]), ("drafter.train", row["train"]),
                       ("drafter.idle_order", row["idle_order"])):
        flags += ["--set", f"{key}={value}"]
    if row["draft"] in ("eagle", "auto"):
        flags += ["--set", f"drafter.path={drafter}"]
    return flags


def finish(run, seconds=120):
    """The outcome of a run that has to succeed."""
    try:
        assert run.wait(seconds) == 0, run.errors()
        assert not run.processes(), "processes outlive the run"
        return run.outcome()
    finally:
        run.end()


@pytest.fixture(scope="module", autouse=True)
def workers(tlt, tiny):
    if "--workers" not in run_tlt("train", "--help")[1].decode():
        pytest.skip("this build has no workers")


@pytest.fixture(scope="module")
def drafter(tmp_path_factory, tiny):
    return write_drafter(str(tmp_path_factory.mktemp("drafter") / "d"), TINY, 7)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """Configuration with room to interrupt it, and its outcome."""
    top = tmp_path_factory.mktemp("long")
    config = write_config(top / "c.yaml", "dapo", steps=12, every=6, draft="auto", checkpoint=2)
    return config, finish(Run(config, top / "plain", "--workers", 1, "--set", "drafter.train=off"))


@pytest.fixture(scope="module")
def stopped_worker(tmp_path_factory, long_run):
    """SIGSTOP of worker 1, watched in the background while other tests run: it takes some 20 s to be noticed."""
    config, _ = long_run
    run = Run(config, tmp_path_factory.mktemp("stopped") / "run", "--workers", 2, "--set", "steps=100000")
    seen = {}

    def watch():
        try:
            run.wait_for_step(2)
            pid = run.workers()[1]
            os.kill(pid, signal.SIGSTOP)
            seen["seconds"] = run.wait_until_gone(45, but=[pid])
            seen["code"] = run.wait(5)
        except Exception as e:  # told by the test
            seen["error"] = e
        finally:
            run.end()

    thread = threading.Thread(target=watch)
    thread.start()
    yield thread, run, seen
    thread.join(120)


# ---- the same bits --------------------------------------------------------------------------------


def matrix(tmp_path, drafter, rows):
    """Each row against one worker without anything; two runs at a time."""
    configs = {a: write_config(tmp_path / f"{i}.yaml", a) for i, a in enumerate(FACTORS["algorithm"])}

    def plain(algorithm):
        return finish(Run(configs[algorithm], tmp_path / f"plain {algorithm}", "--workers", 1, "--threads", 1,
                          "--set", "drafter.train=off"))

    def one(item):
        i, row = item
        run = Run(configs[row["algorithm"]], tmp_path / f"run-{i}", *flags_of(row, drafter),
                  env={"TLT_SHARE": row["share"]})
        got = finish(run)
        assert_same(got, want[row["algorithm"]], str(row))
        shutil.rmtree(run.directory)

    with ThreadPoolExecutor(2) as pool:
        want = dict(zip(configs, pool.map(plain, configs)))
        assert len({sha for sha, _, _ in want.values()}) == len(want), "algorithms that do the same test nothing"
        list(pool.map(one, enumerate(rows)))


def test_no_setting_changes_a_bit(tmp_path, drafter, stopped_worker):
    assert stopped_worker  # begun here, judged by test_a_worker_that_stops_ends_the_run
    matrix(tmp_path, drafter, covering_set(FACTORS))


@pytest.mark.skipif(not FULL, reason="long version: TLT_FULL=1")
def test_the_full_product_changes_no_bit(tmp_path, drafter):
    factors = {**FACTORS, "draft": ["off", "auto"], "share": ["on"]}
    rows = [dict(zip(factors, values)) for values in itertools.product(*factors.values())]
    matrix(tmp_path, drafter, rows)


def test_two_workers_on_smollm2(tmp_path, smollm2):
    config = tmp_path / "c.yaml"
    write_config(config, steps=3, every=0, tokens=24)
    config.write_text(config.read_text().replace(TINY, smollm2).replace("samples: 4", "samples: 2"))
    want = finish(Run(config, tmp_path / "one", "--workers", 1, "--set", "drafter.train=off"), 300)
    got = finish(Run(config, tmp_path / "two", "--workers", 2, "--set", "speculation.draft=auto"), 300)
    assert_same(got, want)


def test_training_that_brings_nothing_rests(tmp_path, drafter):
    """A rate too small to change a weight: after some publications without gain idle workers train no more."""
    config = write_config(tmp_path / "c.yaml", steps=25, every=0, draft="auto")
    run = Run(config, tmp_path / "run", "--workers", 2, "--set", f"drafter.path={drafter}", "--set", "drafter.lr=1e-12",
              "--set", "drafter.min_share=0.9")
    finish(run)
    lines = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert any(m["drafter/micro_steps"] for m in lines)
    after = [b["drafter/micro_steps"] for a, b in zip(lines, lines[1:]) if a["drafter/resting"]]
    assert after and not any(after), [(m["drafter/resting"], m["drafter/micro_steps"]) for m in lines]


def test_a_rate_that_is_too_high_gives_way(tmp_path):
    """Training that makes a good drafter worse is undone, and goes on more slowly."""
    config = write_config(tmp_path / "c.yaml", steps=12, every=0, draft="auto")
    run = Run(config, tmp_path / "run", "--workers", 1, "--set", f"drafter.path={DRAFTER}", "--set", "drafter.lr=0.02",
              "--set", "drafter.min_share=0.9")
    finish(run)
    lines = [m for m in read_jsonl(tmp_path / "run" / "metrics.jsonl") if m["drafter/chain_length_trained"]]
    before, after = ([m[f"drafter/chain_length_{x}"] for m in lines] for x in ("published", "trained"))
    worse = [b < 0.995 * a for a, b in zip(before, after)]
    assert any(worse), (before, after)
    assert [m["drafter/published"] for m in lines] == [b >= a for a, b in zip(before, after)]
    assert max(m["drafter/lr"] for m in lines[worse.index(True):]) <= 0.01 * 1.2 ** worse.count(False), lines


def test_more_workers_than_cores_or_prompts(tmp_path):
    config = write_config(tmp_path / "c.yaml", steps=3, every=0)
    want = finish(Run(config, tmp_path / "one", "--workers", 1))
    count = max(5, os.cpu_count() + 1) if os.cpu_count() < 12 else 5
    run = Run(config, tmp_path / "many", "--workers", count)
    assert_same(finish(run), want)
    assert "prompts" in run.errors(), run.errors()
    if count > os.cpu_count():
        assert "cores" in run.errors(), run.errors()


# ---- started by others ----------------------------------------------------------------------------

MPI_ENV = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def mpirun(config, directory, *flags_of_ranks):
    """A run under a foreign mpirun, with further flags for each rank. They are added behind mpirun, whose own way of
    starting different programs crashes in Open MPI 5.0.7."""
    if not shutil.which("mpirun"):
        pytest.skip("mpirun is not there")
    cases = " ".join(f'{rank}) set -- "$@" {shlex.join(flags)};;' for rank, flags in enumerate(flags_of_ranks))
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(len(flags_of_ranks)), "sh", "-c",
               f'case $OMPI_COMM_WORLD_RANK in {cases} esac; exec "$@"', "sh",
               TLT, "train", str(config), "--run", str(directory)]
    return Run(config, directory, env=MPI_ENV, command=command)


def test_a_foreign_mpirun(tmp_path):
    config = write_config(tmp_path / "c.yaml", steps=4)
    want = finish(Run(config, tmp_path / "one", "--workers", 1))
    assert_same(finish(mpirun(config, tmp_path / "two", [], [])), want)


@pytest.mark.parametrize("change", ["optimizer.lr=2.0e-4", "model", "data.seed=6"])
def test_workers_that_differ_are_refused(tmp_path, change):
    config = write_config(tmp_path / "c.yaml")
    if change == "model":
        other = shutil.copytree(TINY, tmp_path / "model")
        path = other / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1000] ^= 1  # a bit of a weight
        path.write_bytes(bytes(data))
        change = f"model={other}"
    run = mpirun(config, tmp_path / "run", [], ["--set", change])
    try:
        assert run.wait(60) == 8, run.errors()
        assert re.search(r"(worker|rank) 1\b", run.errors()), run.errors()
        assert run.saved() < 0
        run.wait_until_gone(5)
    finally:
        run.end()


# ---- when something dies --------------------------------------------------------------------------


def go_on(config, directory, workers):
    """--resume with that many workers."""
    run = Run(config, directory, "--workers", workers, "--resume")
    return finish(run), run


@pytest.mark.parametrize("victim, after", [(2, 1), (0, 4)])
def test_a_killed_worker(tmp_path, long_run, victim, after):
    config, want = long_run
    run = Run(config, tmp_path / "run", "--workers", 3)
    try:
        run.wait_for_step(4)
        os.kill(soon(run.workers, 5, "workers")[victim], signal.SIGKILL)
        assert run.wait(30) == 8, run.errors()
        run.wait_until_gone(5)
        assert re.search(rf"(worker|rank) {victim}\b", run.errors()), run.errors()
        assert 4 <= run.saved() < 12
    finally:
        run.end()
    assert_same(go_on(config, run.directory, after)[0], want)


def test_a_killed_launcher_leaves_no_process(tmp_path, long_run):
    config, want = long_run
    run = Run(config, tmp_path / "run", "--workers", 2)
    try:
        run.wait_for_step(2)
        assert len(run.workers()) == 2
        run.p.kill()
        run.wait(5)
        run.wait_until_gone(30)
    finally:
        run.end()
    assert_same(go_on(config, run.directory, 3)[0], want)


@pytest.mark.parametrize("whole_group", [False, True])
def test_interrupted(tmp_path, long_run, whole_group):
    """By kill, or by Ctrl-C, which reaches every process of the terminal's group."""
    config, want = long_run
    run = Run(config, tmp_path / "run", "--workers", 2)
    try:
        run.wait_for_step(2)
        (os.killpg if whole_group else os.kill)(run.p.pid, signal.SIGINT)
        assert run.wait(30) == 75, run.errors()
        run.wait_until_gone(5)
        assert "--resume" in run.errors() and 2 <= run.saved() < 12, run.errors()
    finally:
        run.end()
    assert_same(go_on(config, run.directory, 1 if whole_group else 4)[0], want)


@pytest.mark.parametrize("damage", ["newest", "all"] if FULL else ["newest"])
def test_the_run_s_own_drafter_is_damaged(tmp_path, long_run, damage):
    config, want = long_run
    run = Run(config, tmp_path / "run", "--workers", 2, "--set", "drafter.train=idle")
    try:
        run.wait_for_step(6)
        os.kill(run.p.pid, signal.SIGTERM)
        assert run.wait(30) == 75, run.errors()
    finally:
        run.end()
    steps = sorted(glob.glob(os.path.join(run.directory, "drafter", "step-*")), key=lambda p: int(p.rpartition("-")[2]))
    assert len(steps) > 1, "no drafter was kept"
    for top in steps[-1:] if damage == "newest" else steps:
        for path in glob.glob(os.path.join(top, "*")):
            os.truncate(path, os.path.getsize(path) // 2)
    before = len(run.errors())
    got, again = go_on(config, run.directory, 2)
    assert_same(got, want)
    warned = [x for x in again.errors()[before:].splitlines() if "warning" in x and "drafter" in x]
    assert len(warned) == (1 if damage == "newest" else len(steps)), again.errors()


def test_a_worker_that_stops_ends_the_run(stopped_worker, long_run):
    thread, run, seen = stopped_worker
    thread.join(120)
    assert "error" not in seen, seen["error"]
    assert seen["seconds"] <= 30 and seen["code"] == 8, (seen, run.errors())
    assert re.search(r"(worker|rank) 1\b", run.errors()), run.errors()


@pytest.mark.parametrize("count", ["0", "-1", "x", "100000"])
def test_wrong_numbers_of_workers(tmp_path, count):
    code, _, err = run_tlt("train", write_config(tmp_path / "c.yaml"), "--run", tmp_path / "run", "--workers", count)
    assert code == 2 and "--workers" in err and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path / "run").exists()


if __name__ == "__main__":
    for line in covering_set(FACTORS):
        print("  ".join(f"{k} {v}" for k, v in line.items()))
