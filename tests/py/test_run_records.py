"""Records of single answers: rollouts/step-N.jsonl and spec.jsonl of real runs agree with each other and with
metrics.jsonl, and survive resuming; drafter metrics count all workers.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_run_records.py"""
import os
from collections import Counter

import pytest
from conftest import ROOT, TINY, read_jsonl

DRAFTER = os.path.join(ROOT, "models", "tiny-countdown-drafter")
CONFIG = """
model: {model}
seed: 3
steps: 4
data: {{task: countdown, count: 12, seed: 5}}
eval: {{every: 2, count: 4, samples: 1}}
rollout: {{prompts: 4, samples: 4, max_tokens: 60, temperature: {temperature}, batch: 6}}
speculation: {{draft: {draft}}}
algorithm: {{name: dapo, max_gen: 2}}
checkpoint: {{every: 2}}
log: {{rollouts: {rollouts}}}
"""


@pytest.fixture
def train(tmp_path, tlt, tiny):
    def run(name, *flags, draft="suffix", rollouts="all", temperature=1.0):
        config = tmp_path / f"{name}.yaml"
        config.write_text(CONFIG.format(model=TINY, draft=f'"{draft}"', rollouts=rollouts, temperature=temperature))
        code, _, err = tlt("train", config, "--run", tmp_path / name, *flags)
        assert code == 0, err
        return tmp_path / name
    return run


def answers_of(run):
    """By (step, rollout, sample), in the order of the files."""
    found = {}
    for step in range(1, 5):
        path = run / "rollouts" / f"step-{step}.jsonl"
        for line in read_jsonl(path) if path.exists() else []:
            assert line["step"] == step
            found[step, line["rollout"], line["sample"]] = line
    return found


def pieces(answer, spec):
    """[text, source] of each token that has any."""
    raw, at, found = answer["text"].encode(), 0, []
    for source, n in zip(spec["sources"], spec["bytes"], strict=True):
        if n:
            found.append([raw[at:at + n].decode("utf-8", errors="strict"), source])  # every piece is text
        at += n
    assert at == len(raw)
    return found


def check_records(run):
    """Answers and their sources; returns the sources by step."""
    answers, specs = answers_of(run), read_jsonl(run / "spec.jsonl")
    assert [(s["step"], s["rollout"], s["sample"]) for s in specs] == list(answers)
    sources = {}
    for spec, answer in zip(specs, answers.values()):
        assert set(spec) == {"step", "rollout", "sample", "sources", "bytes"}
        assert len(spec["sources"]) == len(answer["ids"]) == answer["tokens"]
        assert spec["sources"][0] == "."  # drawn from the prompt's logits
        assert "".join(text for text, _ in pieces(answer, spec)) == answer["text"]
        sources.setdefault(spec["step"], Counter()).update(spec["sources"])
    return sources


def accepted(line):
    """Right guesses of a step by the letter of their source, where there are any."""
    found = Counter()
    for key, value in line.items():
        if key.startswith("spec/accepted/") and value:
            found[key.split("/")[2][0]] += value
    return found


@pytest.mark.parametrize("workers, policy", [(1, "planner"), (1, "fixed:4_2_8"), (2, "fixed:4_2_8")])
def test_sources_add_up(train, workers, policy):
    run = train("run", "--workers", workers, "--set", f"drafter.path={DRAFTER}", "--set",
                f"speculation.policy={policy}", draft="auto")
    sources, total = check_records(run), Counter()
    for line in read_jsonl(run / "metrics.jsonl")[1:]:
        of = Counter(sources[line["step"]])
        assert sum(of.values()) == line["completions/tokens"]
        del of["."]
        assert of == accepted(line), line["step"]
        total += of
    if policy != "planner":  # which drafts only where that has been quicker
        assert total, "nothing was ever accepted"


@pytest.mark.parametrize("temperature", [1.0, 8.0])
def test_answers_are_whole(train, temperature):
    """Hot answers are nonsense: tokens that are no text, control characters, parts of characters."""
    run = train("run", temperature=temperature)
    check_records(run)
    answers = answers_of(run)
    for answer in answers.values():
        assert answer["prompt"].rstrip().split(" = ")[1].isdigit()
        assert answer["prompt"] == answers[answer["step"], answer["rollout"], 0]["prompt"]
    if temperature > 1:
        assert any("\ufffd" in a["text"] for a in answers.values())


def test_answers_by_length(train):
    run = train("run")
    answers = answers_of(run)
    for line in read_jsonl(run / "metrics.jsonl")[1:]:
        lengths = [a["tokens"] for a in answers.values() if a["step"] == line["step"]]
        steps = {int(k.rsplit("/", 1)[1]): v for k, v in line.items() if k.startswith("completions/length_le/")}
        assert list(steps) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]  # below 60
        assert steps == {n: sum(x <= n for x in lengths) for n in steps}
        assert len(lengths) == line["completions/count"]


def test_a_resumed_run_has_every_answer_once(train):
    run = train("run", "--set", "steps=2", "--workers", 2)
    with open(run / "spec.jsonl", "ab") as f:
        f.write((run / "spec.jsonl").read_bytes().replace(b'{"step": 2', b'{"step": 3')[-900:])  # and a torn line
    run = train("run", "--resume")
    check_records(run)
    whole = train("whole")
    assert answers_of(run) == answers_of(whole)


def test_what_is_kept(train):
    run = train("sample", rollouts="sample")
    assert Counter(step for step, _, _ in answers_of(run)) == {step: 8 for step in range(1, 5)}
    check_records(run)
    assert not (train("none", rollouts="none") / "spec.jsonl").exists()
    assert not (train("off", draft="off") / "spec.jsonl").exists()


def test_a_record_that_cannot_be_written_ends_nothing(train):
    whole = train("whole")
    run = train("run", "--set", "steps=2")
    os.remove(run / "spec.jsonl")
    os.mkdir(run / "spec.jsonl")
    run = train("run", "--resume")
    assert answers_of(run) == answers_of(whole)


def test_drafter_metrics_count_all_workers(train):
    run = train("run", "--workers", 2, "--set", "drafter.train=idle", "--set", "drafter.min_share=0.2", draft="auto")
    lines, total = read_jsonl(run / "metrics.jsonl")[1:], 0
    for line in lines:
        total += line["drafter/micro_steps"]
        assert line["drafter/micro_steps_total"] == total
        assert (line["drafter/loss_token"] is None) == (line["drafter/micro_steps"] == 0)
        seconds = line["drafter/seconds"] + line["drafter/seconds_eval"]
        assert seconds <= line["workers/drafter"] + line["workers/decoding"] + 0.05, line
    assert total > 0
    kept = lines[0]["drafter/buffer_samples"] + lines[0]["drafter/buffer_held"]
    assert kept + lines[0]["drafter/lost"] == lines[0]["completions/count"]
