"""Log-probabilities of `tlt score` against transformers, on random models of odd sizes.

Environment: TLT_BIN (default build/tlt), TLT_RESAVE (default build/tests/unit/model/resave).
Needs torch, transformers and safetensors. Run alone: pytest tests/py/test_model_hf.py
"""

import copy
import functools
import json
import os
import random
import subprocess
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
TLT = Path(os.environ.get("TLT_BIN", ROOT / "build/tlt"))
RESAVE = Path(os.environ.get("TLT_RESAVE", ROOT / "build/tests/unit/model/resave"))
SMOLLM2 = ROOT / "models/SmolLM2-135M-Instruct"
CONFIGS = 20
HAS_BF16 = "avx512_bf16" in Path("/proc/cpuinfo").read_text()

pytestmark = pytest.mark.skipif(not TLT.exists(), reason=f"{TLT} is not built")
ARCHS = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}


def rope_settings(rng, arch, theta):
    """Plain, linear or llama3 rotary scaling, in the spelling of transformers 5."""
    kind = rng.choice(["default", "linear", "llama3"])
    rope = {"rope_type": kind, "rope_theta": theta}
    if kind != "default":
        rope["factor"] = rng.choice([2.0, 8.0, 3.5])
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope["original_max_position_embeddings"] = 32
    return rope


def random_config(arch, index):
    rng = random.Random(f"{arch} {index}")
    kv_heads = rng.choice([1, 2, 3, 5])
    heads = kv_heads * rng.choice([1, 2, 3, 7, 13])
    head_dim = 2 * rng.choice([3, 5, 8, 17, 32, 37])
    hidden = rng.randint(17, 150)
    if arch == "llama":
        hidden = heads * rng.randint(2 + 16 // heads, 4 + 120 // heads)  # transformers asks for it
    if arch == "qwen2":  # has no head_dim of its own
        head_dim = min(head_dim, 2 * max(1, 200 // heads))
        hidden = heads * head_dim
    fields = dict(
        hidden_size=hidden,
        intermediate_size=rng.randint(19, 260),
        num_hidden_layers=rng.randint(1, 4),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=rng.randint(30, 3000),
        max_position_embeddings=400,
        rms_norm_eps=rng.choice([1e-5, 1e-6]),
        tie_word_embeddings=rng.random() < 0.5,
        rope_parameters=rope_settings(rng, arch, rng.choice([1e4, 1e6, 5e5])),
        bos_token_id=1,
        eos_token_id=rng.choice([2, [2, 3]]),
        pad_token_id=None,
    )
    if arch != "qwen2":
        fields["head_dim"] = head_dim
    return ARCHS[arch][0](**fields), rng


def random_model(arch, index):
    """A model whose weights are bf16 values, with norms and biases away from 1 and 0."""
    config, rng = random_config(arch, index)
    torch.manual_seed(index)
    model = ARCHS[arch][1](config).float()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.normal_(0, 0.7 / p.shape[1] ** 0.5)
            else:
                p.add_(torch.randn_like(p) * 0.2)
            p.copy_(p.bfloat16().float())
    return model.eval(), rng


def use_old_spelling(folder):
    """rope_theta and rope_scaling at the top level, as transformers 4 wrote them."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None
    if rope["rope_type"] != "default":
        rope["type"] = rope.pop("rope_type")
        config["rope_scaling"] = rope
    path.write_text(json.dumps(config))


def store(model, folder, rng):
    dtype = rng.choice([torch.float32, torch.bfloat16])
    size = rng.choice(["5GB", "40KB"])
    # a copy: the conversion would round the rotary frequencies of the reference too
    copy.deepcopy(model).to(dtype).save_pretrained(folder, max_shard_size=size)
    if rng.random() < 0.5:
        use_old_spelling(folder)


def score(folder, prompt, tokens, numerics="portable", temperature=1.0, threads=0):
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text(json.dumps({"prompt": prompt, "tokens": tokens}) + "\n")
    command = [TLT, "score", "--model", folder, "--in", source, "--out", target]
    command += ["--numerics", numerics, "--temperature", temperature, "--threads", threads]
    subprocess.run([str(x) for x in command], check=True, capture_output=True, text=True)
    return torch.tensor(json.loads(target.read_text())["logprobs"])


def reference(model, prompt, tokens, temperature=1.0):
    ids = torch.tensor([prompt + tokens])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def random_ids(rng, vocab):
    ids = [rng.randrange(vocab) for _ in range(rng.randint(60, 220))]
    cut = rng.randint(1, 40)
    return ids[:cut], ids[cut:]


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """(model, folder, prompt, tokens, log-probabilities in fp32) of (arch, index), made once."""

    @functools.lru_cache(maxsize=None)
    def make(arch, index):
        model, rng = random_model(arch, index)
        folder = tmp_path_factory.mktemp(f"{arch}-{index}")
        store(model, folder, rng)
        prompt, tokens = random_ids(rng, model.config.vocab_size)
        return model, folder, prompt, tokens, reference(model, prompt, tokens)

    return make


@pytest.mark.parametrize("index", range(CONFIGS))
@pytest.mark.parametrize("arch", ARCHS)
def test_portable_matches_transformers_fp32(arch, index, case):
    model, folder, prompt, tokens, want = case(arch, index)
    temperature = 1.0
    if index % 3 == 0:
        temperature = 0.7
        want = reference(model, prompt, tokens, temperature)
    got = score(folder, prompt, tokens, temperature=temperature)
    assert (got - want).abs().max().item() <= 1e-3


def rounded(model):
    """As from_pretrained(dtype=bfloat16): parameters in bf16, rotary frequencies in fp32."""
    model = copy.deepcopy(model)
    for p in model.parameters():
        p.data = p.data.bfloat16()
    return model


@pytest.mark.skipif(not HAS_BF16, reason="the processor has no AVX-512 BF16")
@pytest.mark.parametrize("arch", ARCHS)
def test_bf16_error_is_that_of_transformers(arch, case):
    """Errors of all configurations together: one alone is too few numbers for a ratio."""
    ours, theirs = [], []
    for index in range(CONFIGS):
        model, folder, prompt, tokens, exact = case(arch, index)
        ours.append(score(folder, prompt, tokens, "avx512bf16") - exact)
        theirs.append(reference(rounded(model), prompt, tokens) - exact)
    ours, theirs = torch.cat(ours), torch.cat(theirs)
    rms = [x.square().mean().sqrt().item() for x in (ours, theirs)]
    most = [x.abs().max().item() for x in (ours, theirs)]
    print(f"{arch}: rms {rms[0]:.4f} against {rms[1]:.4f}, largest {most[0]:.4f} against {most[1]:.4f}")
    assert rms[0] <= 1.5 * rms[1] and most[0] <= 1.5 * most[1]


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.skipif(not RESAVE.exists(), reason=f"{RESAVE} is not built")
def test_saved_models_load_in_transformers(arch, tmp_path):
    for index in range(4):
        model, rng = random_model(arch, index)
        folder, again = tmp_path / f"{index}", tmp_path / f"{index}-again"
        store(model, folder, rng)
        subprocess.run([RESAVE, folder, again], check=True, capture_output=True)
        back = transformers.AutoModelForCausalLM.from_pretrained(again)
        assert type(back) is type(model) and back.dtype == torch.bfloat16
        back = transformers.AutoModelForCausalLM.from_pretrained(again, dtype=torch.float32)
        assert back.config.eos_token_id == model.config.eos_token_id
        assert back.generation_config.eos_token_id == model.config.eos_token_id
        mine, theirs = model.state_dict(), back.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], theirs[k]) for k in mine)
        prompt, tokens = random_ids(rng, model.config.vocab_size)
        assert torch.equal(reference(model, prompt, tokens), reference(back, prompt, tokens))
        assert torch.equal(score(folder, prompt, tokens), score(again, prompt, tokens))


@pytest.mark.skipif(not SMOLLM2.exists(), reason="SmolLM2-135M-Instruct was not made")
def test_smollm2(tmp_path):
    rng = random.Random(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.float32)
    for name in os.listdir(SMOLLM2):
        (tmp_path / name).symlink_to(SMOLLM2 / name)
    prompt, tokens = random_ids(rng, 49152)
    want = reference(model, prompt, tokens)
    assert (score(tmp_path, prompt, tokens) - want).abs().max().item() <= 1e-3
    if HAS_BF16:
        ours = (score(tmp_path, prompt, tokens, "avx512bf16") - want).abs().max()
        theirs = (reference(rounded(model), prompt, tokens) - want).abs().max()
        assert ours <= 1.5 * theirs
