"""Bad input: one line that names file and place, the right exit code, nothing overwritten.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_bad_input.py"""
import json
import os
import shutil
import struct

import pytest
from conftest import read_jsonl

TRAIN = "model: {model}\ndata: {{task: countdown, count: 20}}\neval: {{every: 0}}\nsteps: 1\n" \
        "rollout: {{prompts: 2, samples: 2, max_tokens: 16}}\n"


def refused(result, code, *words):
    got, out, err = result
    assert got == code, (got, err)
    lines = [line for line in err.splitlines() if line.startswith("tlt: ")]
    assert len(lines) == 1, err
    for word in words:
        assert word in lines[0], (word, lines[0])


@pytest.fixture()
def model(tmp_path, tiny):
    to = tmp_path / "model"
    shutil.copytree(tiny, to)
    return to


def edit_config(model, **changes):
    path = model / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        if value is ...:
            config.pop(key, None)
        else:
            config[key] = value
    path.write_text(json.dumps(config))


def generate(tlt, model, *extra):
    return tlt("generate", "--model", model, "--prompt", "3 7 25 = 46\n", "--max-tokens", 4, *extra)


# ---- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes,words", [
    ({"model_type": "mamba"}, ["mamba", "llama"]),
    ({"num_hidden_layers": 0}, ["num_hidden_layers"]),
    ({"num_hidden_layers": 1e18}, ["num_hidden_layers"]),
    ({"hidden_size": "192"}, ["hidden_size"]),
    ({"num_attention_heads": 5}, ["config.json"]),
    ({"num_key_value_heads": 4}, ["key-value heads"]),
    ({"vocab_size": -1}, ["vocab_size"]),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, ["yarn"]),
    ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
    ({"hidden_size": ...}, ["hidden_size"]),
])
def test_configuration(tlt, model, changes, words):
    edit_config(model, **changes)
    refused(generate(tlt, model), 3, "config.json" if len(words) == 1 else words[0], *words)


def rewrite(path, change):
    data = path.read_bytes()
    path.write_bytes(change(data))


@pytest.mark.parametrize("change,words", [
    (lambda d: d[:4], ["model.safetensors"]),
    (lambda d: d[:-100], ["model.safetensors"]),
    (lambda d: d + b"x", ["model.safetensors"]),
    (lambda d: struct.pack("<Q", 1 << 60) + d[8:], ["model.safetensors"]),
    (lambda d: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", ["LFS"]),
    (lambda d: d[:8] + b"\xff" + d[9:], ["model.safetensors"]),
    (lambda d: d[:-2] + b"\xc0\x7f", ["nan", "model.safetensors"]),
])
def test_weights(tlt, model, change, words):
    rewrite(model / "model.safetensors", change)
    got, _, err = generate(tlt, model)
    assert got == 3, err
    assert any(w.lower() in err.lower() for w in words), err


def test_missing_files(tlt, model, tmp_path):
    refused(generate(tlt, tmp_path / "nowhere"), 3, "nowhere")
    os.remove(model / "tokenizer.json")
    refused(generate(tlt, model), 3, "tokenizer.json")


@pytest.mark.parametrize("change", [
    lambda t: t["model"].update(merges=[]),
    lambda t: t["model"].update(type="Unigram"),
    lambda t: t.update(normalizer={"type": "Strange"}),
    lambda t: t.update(pre_tokenizer={"type": "Strange"}),
    lambda t: t["model"]["merges"].append("no-such-piece other"),
])
def test_tokenizer(tlt, model, change):
    path = model / "tokenizer.json"
    t = json.loads(path.read_text())
    change(t)
    path.write_text(json.dumps(t))
    refused(generate(tlt, model), 3, "tokenizer.json")


def test_template_syntax(tlt, model, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ bos }}\n{% frobnicate %}")
    refused(generate(tlt, model, "--chat", "--template-file", template), 3, "t.jinja", "2")


# ---- usage and configuration ---------------------------------------------------------------------


@pytest.mark.parametrize("args,word", [
    (["generate"], "--model"), (["generate", "--model", "x", "--frob"], "--frob"),
    (["generate", "--model", "x", "--n", "0", "--prompt", "a"], "--n"),
    (["generate", "--model", "x", "--temperature", "nan", "--prompt", "a"], "--temperature"),
    (["nonsense"], "nonsense"), (["train"], "configuration"), (["data", "sudoku"], "countdown"),
    (["generate", "--model", "models/tiny-countdown", "--prompt", "a", "--numerics", "gpu"], "gpu"),
])
def test_usage(tlt, tiny, args, word):
    refused(tlt(*args), 2, word)


def train(tlt, tmp_path, text, *extra):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    return tlt("train", config, "--run", tmp_path / "run", *extra)


@pytest.mark.parametrize("line,words", [
    ("stepz: 3", ["c.yaml:", "stepz", "steps"]),
    ("steps: 3\nsteps: 4", ["c.yaml:", "steps"]),
    ("optimizer: {lr: \"1e-6\"}", ["optimizer.lr"]),
    ("optimizer: {lr: 9x}", ["optimizer.lr", "9x"]),
    ("seed: 010", ["seed"]),
    ("seed: 9223372036854775808", ["seed"]),
    ("data: {task: countdown, chat: yes}", ["data.chat"]),
    ("rollout: {samples: 1}", ["samples"]),
    ("rollout: {temperature: 0}", ["temperature"]),
    ("rollout: {prompts: 3}\nalgorithm: {minibatches: 2}", ["minibatches"]),
    ("algorithm: {clip_low: -1}", ["clip_low"]),
    ("a: &x [1]\nb: *x", ["c.yaml:"]),
    ("model:\tx", ["c.yaml:"]),
])
def test_yaml(tlt, tmp_path, tiny, line, words):
    base = TRAIN.format(model=tiny)
    for key in ("steps", "data", "rollout", "model"):  # the bad line replaces the good one
        if line.startswith(key + ":"):
            base = "\n".join(x for x in base.splitlines() if not x.startswith(key + ":")) + "\n"
    refused(train(tlt, tmp_path, base + line + "\n"), 2, *words)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_used_directory_is_not_touched(tlt, tmp_path, tiny):
    code, _, err = train(tlt, tmp_path, TRAIN.format(model=tiny))
    assert code == 0, err
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    refused(train(tlt, tmp_path, TRAIN.format(model=tiny)), 2, "run", "--resume")
    changed = TRAIN.format(model=tiny) + "seed: 9\n"
    refused(train(tlt, tmp_path, changed, "--resume"), 5, "seed")
    for path, data in before.items():
        if path.name not in ("status.json", "lock"):
            assert path.read_bytes() == data, path
    code, out, err = train(tlt, tmp_path, TRAIN.format(model=tiny), "--resume")
    assert code == 0 and b"already complete" in out, err


def test_damaged_checkpoint(tlt, tmp_path, tiny):
    text = TRAIN.format(model=tiny).replace("steps: 1", "steps: 4") + "checkpoint: {every: 1}\n"
    code, _, err = train(tlt, tmp_path, text)
    assert code == 0, err
    newest = tmp_path / "run" / "checkpoints" / "step-4" / "moment1"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    longer = text.replace("steps: 4", "steps: 6")
    refused(train(tlt, tmp_path, longer, "--resume"), 5, "moment1")
    code, _, err = train(tlt, tmp_path, longer, "--resume=last-good")
    assert code == 0 and "step-4" in err, err
    assert [m["step"] for m in read_jsonl(tmp_path / "run" / "metrics.jsonl")][-1] == 6


def test_unwritable_run_directory(tlt, tmp_path, tiny):
    config = tmp_path / "c.yaml"
    config.write_text(TRAIN.format(model=tiny))
    (tmp_path / "file").write_text("x")
    refused(tlt("train", config, "--run", tmp_path / "file" / "run"), 4, "file")


# ---- data and rewards ----------------------------------------------------------------------------


@pytest.mark.parametrize("text,words", [
    ("", ["p.jsonl"]),
    ('{"prompt": "a", "answer": "1"}\n{"prompt": "b"}\n', ["p.jsonl:2", "answer"]),
    ('{"prompt": "a", "answer": "1"}\nnot json\n', ["p.jsonl:2"]),
    ('{"prompt": 3, "answer": "1"}\n', ["p.jsonl:1", "prompt"]),
    ('{"id": "x", "prompt": "a", "answer": "1"}\n{"id": "x", "prompt": "b", "answer": "1"}\n',
     ["p.jsonl:2", "x"]),
    ('{"prompt": "' + "1 " * 3000 + '", "answer": "1"}\n', ["p.jsonl"]),
])
def test_datasets(tlt, tmp_path, tiny, text, words):
    data = tmp_path / "p.jsonl"
    data.write_text(text)
    config = TRAIN.format(model=tiny).replace("{task: countdown, count: 20}", f"{{file: {data}}}")
    refused(train(tlt, tmp_path, config), 3, *words)


@pytest.mark.parametrize("command,word", [
    ("/nonexistent/reward", "nonexistent"), ("/etc/passwd", "passwd"), ("/bin/true", "true"),
    ("sh -c 'echo nonsense; cat >/dev/null'", "sh"),
])
def test_reward_programs(tlt, tmp_path, tiny, command, word):
    config = TRAIN.format(model=tiny) + f'reward: {{command: "{command}", timeout_s: 5}}\n'
    refused(train(tlt, tmp_path, config), 6, word)
