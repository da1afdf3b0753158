"""RUN/tensorboard as TensorBoard reads it: the numbers of metrics.jsonl, also after a kill and a resume.

Both of its readers are asked: the Python accumulator, and the data server that the program starts by
default. TensorFlow is not needed and not imported.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_tensorboard.py"""
import glob
import html
import math
import os
import re
import signal
import struct
import sys
import time

import pytest
from conftest import TINY, read_jsonl, run_tlt
from worker_run import Run, soon

RequestContext = pytest.importorskip("tensorboard.context").RequestContext
markdown_to_safe_html = pytest.importorskip("tensorboard.plugin_util").markdown_to_safe_html
event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

CONFIG = """
model: {model}
seed: 3
steps: {steps}
data: {{task: countdown, count: 8, seed: 5}}
eval: {{every: 2, count: 4, samples: 1}}
rollout: {{prompts: 3, samples: 4, max_tokens: 40, batch: 12}}
checkpoint: {{every: 2}}
log: {{rollouts: sample, tensorboard: {on}}}
"""


def write_config(tmp_path, steps, on="true"):
    path = tmp_path / f"c{steps}.yaml"
    path.write_text(CONFIG.format(model=TINY, steps=steps, on=on))
    return path


def as_float(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def numbers(run):
    """{(key, step): value as a float} of metrics.jsonl; null and texts left out."""
    return {(key, line["step"]): as_float(value) for line in read_jsonl(run / "metrics.jsonl")
            for key, value in line.items() if key != "step" and isinstance(value, (int, float))}


def by_accumulator(run):
    reader = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return {(tag, e.step): e.value for tag in reader.Tags()["scalars"] for e in reader.Scalars(tag)}


def by_data_server(run):
    ingester = pytest.importorskip("tensorboard.data.server_ingester")
    grpc_util = pytest.importorskip("tensorboard.util.grpc_util")
    try:
        binary = ingester.get_server_binary()
    except ingester.NoDataServerError as e:
        pytest.skip(str(e))
    server = ingester.SubprocessServerDataIngester(
        binary, str(run / "tensorboard"), reload_interval=0, channel_creds_type=grpc_util.ChannelCredsType.LOCAL)
    server.start()
    try:
        context = RequestContext()
        ask = {"experiment_id": "", "plugin_name": "scalars"}
        seen = []

        def has_read():  # it answers while it reads: the same twice
            series = server.data_provider.read_scalars(context, downsample=10000, **ask)
            seen.append({(tag, e.step): e.value for tag, events in series.get(".", {}).items() for e in events})
            time.sleep(0.1)
            return seen[-1] and seen[-1:] == seen[-2:-1]
        soon(has_read, 10, "the data server has read everything")
        return seen[-1]
    finally:
        server._stdin_handle.close()  # it ends with that


def assert_equal(got, want):
    assert not {k: v for k, v in got.items() if k not in want}, "events that metrics.jsonl does not have"
    assert not {k: v for k, v in want.items() if k not in got}, "values without an event"
    assert all(got[k] == v or math.isnan(v) for k, v in want.items())


READERS = [by_accumulator, by_data_server]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tlt, tiny):
    """Two workers, killed behind the checkpoint of step 2, then gone on with to the end."""
    top = tmp_path_factory.mktemp("run")
    first = Run(write_config(top, 8), top / "run", "--workers", 2)
    try:
        first.wait_for_step(2)
        for pid in first.processes():
            os.kill(pid, signal.SIGKILL)
        first.p.wait(30)
    finally:
        first.end()
    code, _, err = tlt("train", write_config(top, 8), "--run", top / "run", "--resume")
    assert code == 0, err
    return top / "run"


@pytest.mark.parametrize("read", READERS)
def test_values_are_those_of_metrics(finished, read):
    got, want = read(finished), numbers(finished)
    assert {step for _, step in want} == set(range(9))
    assert any(v == 0 for v in want.values())
    assert_equal(got, want)


def test_lengths_are_a_histogram(finished):
    reader = event_accumulator.EventAccumulator(str(finished / "tensorboard"), size_guidance={"histograms": 0})
    reader.Reload()
    histograms = {e.step: e.histogram_value for e in reader.Histograms("completions/length")}
    lines = {x["step"]: x for x in read_jsonl(finished / "metrics.jsonl") if x["step"] > 0}
    assert set(histograms) == set(lines)
    for step, h in histograms.items():
        x = lines[step]
        assert (h.min, h.max, h.num, h.sum) == tuple(
            x["completions/" + k] for k in ("min_length", "max_length", "count", "tokens"))
        below = 0
        for limit, count in zip(h.bucket_limit, h.bucket):
            below += count
            assert below == x.get(f"completions/length_le/{int(limit)}", x["completions/count"])
        assert below == h.num and list(h.bucket_limit) == sorted(h.bucket_limit)


def test_answers_of_a_few_steps_are_shown_as_they_stand(finished):
    reader = event_accumulator.EventAccumulator(str(finished / "tensorboard"), size_guidance={"tensors": 0})
    reader.Reload()
    texts = {e.step: e.tensor_proto.string_val[0].decode() for e in reader.Tensors("answers")}
    assert set(texts) == {1, 2, 4, 8}
    assert reader.summary_metadata["answers"].plugin_data.plugin_name == "text"
    for step, text in texts.items():
        kept = read_jsonl(finished / "rollouts" / f"step-{step}.jsonl")
        blocks = [html.unescape(b) for b in re.findall(r"<code>(.*?)</code>", markdown_to_safe_html(text), re.S)]
        shown = [a for a in kept if [a["prompt"].strip(), a["text"].strip()] in
                 [[p.strip(), t.strip()] for p, t in zip(blocks[::2], blocks[1::2])]]
        assert len(shown) >= 4 == text.count("rollout "), (blocks, kept)


def test_a_file_each_start(finished):
    names = sorted(os.listdir(finished / "tensorboard"))
    assert len(names) == 2
    assert all(n.startswith("events.out.tfevents.") and n.endswith(".tlt") for n in names)


@pytest.mark.parametrize("read", READERS)
def test_cut_anywhere(finished, tmp_path, read):
    """A file that ends in the middle of a record gives what was whole, and does not hide the next one."""
    run = tmp_path / "cut"
    (run / "tensorboard").mkdir(parents=True)
    names = sorted(glob.glob(str(finished / "tensorboard" / "*")))
    with open(names[0], "rb") as f:
        data = f.read()
    whole = numbers(finished)
    with open(run / "tensorboard" / os.path.basename(names[0]), "wb") as f:
        f.write(data[:-7])
    before = read(run)
    assert before and {s for _, s in before} == set(range(1 + max(s for _, s in before)))
    with open(names[1], "rb") as f, open(run / "tensorboard" / os.path.basename(names[1]), "wb") as to:
        to.write(f.read())
    assert {k: v for k, v in read(run).items() if k[1] > 2} == {k: v for k, v in whole.items() if k[1] > 2}


def test_can_be_left_out(tmp_path, tlt, tiny):
    code, _, err = tlt("train", write_config(tmp_path, 1, "false"), "--run", tmp_path / "run")
    assert code == 0, err
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_full_disk_ends_no_run(tmp_path, tlt, tiny):
    """What TensorBoard needs cannot be written: one warning, and the run goes on."""
    run = tmp_path / "run"
    run.mkdir()
    code, _, err = run_tlt("train", write_config(tmp_path, 1), "--run", run)
    assert code == 0, err
    (run / "tensorboard").rename(tmp_path / "away")
    (run / "tensorboard").write_text("a file where the directory should be")
    code, _, err = run_tlt("train", write_config(tmp_path, 3), "--run", run, "--resume")
    assert code == 0, err
    assert err.count("TensorBoard") == 1 and "going on without it" in err


def test_tensorflow_is_not_needed():
    assert "tensorflow" not in sys.modules
