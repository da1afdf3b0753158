"""Gradients and loss curves of the trainer against torch.

Drives build/tests/unit/train/train_tool (or $TLT_TRAIN_TOOL). Alone:
    python -m pytest tests/py/test_train_torch.py
"""
import os
import subprocess
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(os.environ.get("TLT_TRAIN_TOOL", ROOT / "build/tests/unit/train/train_tool"))
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason=f"{TOOL} is not built")

COMMON = dict(num_hidden_layers=3, vocab_size=331, max_position_embeddings=256,
              torch_dtype="bfloat16", rms_norm_eps=1e-5)
MODELS = {
    "llama": ("Llama", dict(hidden_size=50, intermediate_size=77, num_attention_heads=5,
                            num_key_value_heads=1, head_dim=10, tie_word_embeddings=True)),
    "llama-untied": ("Llama", dict(hidden_size=72, intermediate_size=131, num_attention_heads=6,
                                   num_key_value_heads=3, head_dim=18, tie_word_embeddings=False)),
    "qwen2": ("Qwen2", dict(hidden_size=70, intermediate_size=101, num_attention_heads=7,
                            num_key_value_heads=7, tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(hidden_size=66, intermediate_size=90, num_attention_heads=4,
                            num_key_value_heads=2, head_dim=22, tie_word_embeddings=False)),
}
# (prompt tokens, all tokens) of each sample
SHAPES = [[(1, 40), (7, 8), (20, 171)], [(3, 90), (1, 2), (50, 77)]]


def make_model(name, tmp):
    kind, sizes = MODELS[name]
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind + "Config")(**COMMON, **sizes)
    build = getattr(transformers, kind + "ForCausalLM")
    model = build(config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            spread = torch.randn_like(p)
            p.copy_((1 + 0.2 * spread if "norm" in key else 0.15 * spread).bfloat16().float())
    model.bfloat16().save_pretrained(tmp / "model")
    # read back, since casting the module to bf16 also rounds its rotary frequencies
    return build.from_pretrained(tmp / "model", torch_dtype=torch.float32,
                                 attn_implementation="eager")


def make_micros(vocab):
    rng = np.random.default_rng(5)
    return [[(p, rng.integers(0, vocab, n).tolist()) for p, n in shape] for shape in SHAPES]


def write_plan(path, micros, lines):
    text = [f"{k} {v}" for k, v in lines.items()]
    for micro in micros:
        text.append("micro")
        text += [f"sample {p} " + " ".join(map(str, ids)) for p, ids in micro]
    path.write_text("\n".join(text) + "\n")


def run_tool(tmp, micros, lines):
    out = tmp / "out"
    out.mkdir(exist_ok=True)
    write_plan(tmp / "plan.txt", micros, lines)
    done = subprocess.run([TOOL, tmp / "model", tmp / "plan.txt", out], capture_output=True,
                          text=True)
    if "lacks" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    losses = np.loadtxt(out / "loss.txt", ndmin=2)
    return out, losses


def read_tensors(out, file):
    flat, at, tensors = np.fromfile(out / file, np.float32), 0, {}
    for line in (out / "names.txt").read_text().splitlines():
        name, n, k = line.rsplit(" ", 2)
        size = int(n) * int(k)
        tensors[name] = torch.from_numpy(flat[at:at + size].copy())
        at += size
    assert at == flat.size
    return tensors


def micro_loss(model, micro, temperature=1.0):
    """Sum of -log p over the targets, and their number."""
    total, count = 0, 0
    for prompt, ids in micro:
        x = torch.tensor([ids])
        logits = model(x).logits[0].float() / temperature
        logp = torch.log_softmax(logits, -1)
        target = x[0, prompt:]
        total = total - logp[prompt - 1:-1].gather(1, target[:, None]).sum()
        count += len(target)
    return total, count


def torch_gradients(model, micros, temperature=1.0, autocast=False):
    model.zero_grad()
    for micro in micros:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss, _ = micro_loss(model, micro, temperature)
        loss.backward()
    return {k: p.grad.detach().flatten().clone() for k, p in model.named_parameters()}


def relative(a, b):
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_gradients_portable(name, temperature, tmp_path):
    model = make_model(name, tmp_path)
    micros = make_micros(COMMON["vocab_size"])
    want = torch_gradients(model, micros, temperature)
    out, losses = run_tool(tmp_path, micros, {"numerics": "portable", "threads": 2,
                                              "temperature": temperature})
    got = read_tensors(out, "gradient.f32")
    assert set(got) == set(want)
    for key in want:
        assert relative(got[key], want[key]) <= 1e-3, key
    for micro, row in zip(micros, losses):
        with torch.no_grad():
            loss, count = micro_loss(model, micro, temperature)
        assert row[0] == pytest.approx(loss.item() / count, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_bf16(name, tmp_path):
    """At most 1.5 times as far from fp32 as torch under bf16 autocast: all tensors, and each."""
    model = make_model(name, tmp_path)
    micros = make_micros(COMMON["vocab_size"])
    exact = torch_gradients(model, micros)
    peer = torch_gradients(model, micros, autocast=True)
    out, _ = run_tool(tmp_path, micros, {"numerics": "avx512bf16", "threads": 2})
    got = read_tensors(out, "gradient.f32")

    def joined(g):
        return torch.cat([g[k] for k in sorted(exact)])
    assert relative(joined(got), joined(exact)) <= 1.5 * relative(joined(peer), joined(exact))
    for key in exact:
        assert relative(got[key], exact[key]) <= 1.5 * relative(peer[key], exact[key]) + 1e-3, key


def torch_training(model, micros, steps, lr, decay, clip):
    """fp32 masters, rounded to bf16 before each forward; decay on matrices only."""
    masters = {k: p.detach().clone().requires_grad_() for k, p in model.named_parameters()}
    groups = [{"params": [m for m in masters.values() if m.dim() > 1], "weight_decay": decay},
              {"params": [m for m in masters.values() if m.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for step in range(steps):
        with torch.no_grad():
            for key, p in model.named_parameters():
                p.copy_(masters[key].bfloat16().float())
        model.zero_grad()
        loss, count = micro_loss(model, micros[step % len(micros)])
        (loss / count).backward()
        for key, p in model.named_parameters():
            masters[key].grad = p.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(masters.values(), clip).item())
        optimizer.step()
        losses.append(loss.item() / count)
    return losses, norms, {k: m.detach().flatten() for k, m in masters.items()}


@pytest.mark.parametrize("name", MODELS)
def test_twenty_steps(name, tmp_path):
    model = make_model(name, tmp_path)
    start = {k: p.detach().flatten().clone() for k, p in model.named_parameters()}
    micros = make_micros(COMMON["vocab_size"])
    out, rows = run_tool(tmp_path, micros, {"numerics": "portable", "threads": 2, "steps": 20,
                                            "adamw": "5e-4 0.9 0.95 1e-8 0.1 1.0"})
    losses, norms, masters = torch_training(model, micros, 20, 5e-4, 0.1, 1.0)
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(rows[:, 0], losses, rtol=1e-3)
    np.testing.assert_allclose(rows[:4, 1], norms[:4], rtol=1e-4)
    np.testing.assert_allclose(rows[:, 1], norms, rtol=5e-2)  # amplifies bf16 flips of weights
    got = read_tensors(out, "masters.f32")
    a = torch.cat([got[k] - start[k] for k in sorted(masters)])
    b = torch.cat([masters[k] - start[k] for k in sorted(masters)])
    assert torch.cosine_similarity(a, b, 0).item() >= 0.999


@pytest.mark.parametrize("name", ["qwen3"])
def test_bits_do_not_depend_on_memory_or_threads(name, tmp_path):
    make_model(name, tmp_path)
    micros = make_micros(COMMON["vocab_size"])
    outputs = []
    for threads, memory in [(1, 1024), (2, 0), (3, 1)]:
        out, _ = run_tool(tmp_path, micros, {"numerics": "auto", "threads": threads, "steps": 4,
                                             "activation_mb": memory,
                                             "adamw": "5e-4 0.9 0.95 1e-8 0.1 1.0"})
        outputs.append((out / "masters.f32").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
