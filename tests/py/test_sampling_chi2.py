"""Sampling follows the target's distribution, with and without speculation: chi-square tests against
probabilities from a forward pass in plain Python, which shares nothing with the program.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_sampling_chi2.py"""
import json
import math
import os
import struct
from collections import Counter

import pytest
from conftest import read_jsonl
from tiny_models import config_of, write_drafter, write_model

SHAPE = {"hidden": 32, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 16, "inter": 40}
PROMPT, SAMPLES, LENGTH = [7, 30, 101], 12000, 4


def load(path):
    data = open(os.path.join(path, "model.safetensors"), "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        first, last = t["data_offsets"]
        words = struct.unpack(f"<{(last - first) // 2}H", data[8 + n + first:8 + n + last])
        values = [struct.unpack("<f", struct.pack("<I", w << 16))[0] for w in words]
        k = t["shape"][-1]
        out[name] = [values[i:i + k] for i in range(0, len(values), k)] if len(t["shape"]) == 2 else values
    return out


def product(w, x):
    return [sum(a * b for a, b in zip(row, x)) for row in w]


def norm(x, gain, eps=1e-6):
    r = 1 / math.sqrt(sum(v * v for v in x) / len(x) + eps)
    return [v * r * g for v, g in zip(x, gain)]


def rope(x, position, theta=10000.0):
    half = len(x) // 2
    angle = [position * theta ** (-2 * i / len(x)) for i in range(half)]
    return ([x[i] * math.cos(angle[i]) - x[i + half] * math.sin(angle[i]) for i in range(half)] +
            [x[i + half] * math.cos(angle[i]) + x[i] * math.sin(angle[i]) for i in range(half)])


def last_logits(w, c, ids):
    """Logits behind ids of the one-layer llama, in double precision."""
    d, heads, p = c["head_dim"], c["num_attention_heads"], "model.layers.0."
    group = heads // c["num_key_value_heads"]
    keys, values = [], []
    for at, token in enumerate(ids):
        x = list(w["model.embed_tokens.weight"][token])
        h = norm(x, w[p + "input_layernorm.weight"])
        k, v = product(w[p + "self_attn.k_proj.weight"], h), product(w[p + "self_attn.v_proj.weight"], h)
        keys.append([rope(k[i:i + d], at) for i in range(0, len(k), d)])
        values.append([v[i:i + d] for i in range(0, len(v), d)])
    q, context = product(w[p + "self_attn.q_proj.weight"], h), []
    for head in range(heads):
        query = rope(q[head * d:head * d + d], at)
        scores = [sum(a * b for a, b in zip(query, k[head // group])) / math.sqrt(d) for k in keys]
        e = [math.exp(s - max(scores)) for s in scores]
        context += [sum(e[t] * values[t][head // group][i] for t in range(len(e))) / sum(e) for i in range(d)]
    x = [a + b for a, b in zip(x, product(w[p + "self_attn.o_proj.weight"], context))]
    h = norm(x, w[p + "post_attention_layernorm.weight"])
    gate, up = product(w[p + "mlp.gate_proj.weight"], h), product(w[p + "mlp.up_proj.weight"], h)
    mlp = [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]
    x = [a + b for a, b in zip(x, product(w[p + "mlp.down_proj.weight"], mlp))]
    return product(w["model.embed_tokens.weight"], norm(x, w["model.norm.weight"]))


def probabilities(logits, temperature, top_k, top_p, min_p):
    """softmax(logits / T) after the filters in the order of transformers: top-k, top-p, min-p."""
    top = max(logits)
    e = [math.exp((x - top) / temperature) for x in logits]
    order = sorted(range(len(e)), key=lambda i: -e[i])
    if top_k:
        order = order[:top_k]
    if top_p < 1:
        mass, kept = sum(e[i] for i in order), []
        for i in order:
            if sum(e[j] for j in kept) >= top_p * mass:
                break
            kept.append(i)
        order = kept
    order = [i for i in order if e[i] >= min_p * e[order[0]]]
    mass = sum(e[i] for i in order)
    return {i: e[i] / mass for i in order}


def chi_square_z(counts, p):
    """Standard normal score (Wilson and Hilferty) of the chi-square statistic; rare tokens pooled."""
    n, rest, seen, x, cells = sum(counts.values()), 0.0, 0, 0.0, -1
    assert all(t in p for t in counts), "a token that the filters exclude was drawn"
    for token, q in p.items():
        if q * n < 8:
            rest += q
            seen += counts.get(token, 0)
            continue
        x += (counts.get(token, 0) - q * n) ** 2 / (q * n)
        cells += 1
    if rest * n >= 8:
        x += (seen - rest * n) ** 2 / (rest * n)
        cells += 1
    if cells < 1:
        return 0.0
    return ((x / cells) ** (1 / 3) - (1 - 2 / (9 * cells))) / math.sqrt(2 / (9 * cells))


@pytest.fixture(scope="module")
def target(tmp_path_factory, tlt, tiny):
    root = tmp_path_factory.mktemp("chi2")
    model = write_model(str(root / "model"), "llama", 12, **SHAPE)
    drafter = write_drafter(str(root / "drafter"), model, 4)
    prompts = root / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "0", "prompt": PROMPT}) + "\n")
    return {"root": root, "model": model, "drafter": drafter, "prompts": prompts, "weights": load(model)}


@pytest.mark.parametrize("draft", [["off"], ["suffix"], ["auto", "--policy", "fixed:3_4_16"]])
@pytest.mark.parametrize("sampling", [(1.0, 0, 1.0, 0.0), (0.7, 0, 0.9, 0.0), (1.3, 20, 1.0, 0.0), (1.0, 0, 1.0, 0.1)])
def test_tokens_have_the_exact_probabilities(target, tlt, draft, sampling):
    out = target["root"] / "out.jsonl"
    temperature, top_k, top_p, min_p = sampling
    extra = ["--drafter", target["drafter"]] if draft[0] == "auto" else []
    code, stats, err = tlt("generate", "--model", target["model"], "--prompts", target["prompts"], "--n", SAMPLES,
                           "--max-tokens", LENGTH, "--temperature", temperature, "--top-k", top_k, "--top-p", top_p,
                           "--min-p", min_p, "--ignore-eos", "--seed", 5, "--numerics", "portable", "--batch", 64,
                           "--draft", *draft, *extra, "--out", out, "--json")
    assert code == 0, err
    if len(draft) > 1:
        accepted = json.loads(stats)["spec"]["accepted"]
        assert sum(map(sum, accepted.values())) > SAMPLES / 50, "drafts were never accepted: nothing was tested"
    behind = {}
    for sample in read_jsonl(out):
        ids = sample["tokens"]
        for at in range(LENGTH):
            behind.setdefault(tuple(ids[:at]), Counter())[ids[at]] += 1
    c = config_of("llama", **SHAPE)
    largest = sorted(behind, key=lambda k: -sum(behind[k].values()))[:12]
    assert any(len(prefix) > 1 for prefix in largest)
    for prefix in largest:
        p = probabilities(last_logits(target["weights"], c, PROMPT + list(prefix)), *sampling)
        assert chi_square_z(behind[prefix], p) < 4.5, prefix
