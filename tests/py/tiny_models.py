"""Small random models and drafters as Hugging Face directories, without any package."""
import json
import os
import random
import shutil
import struct

from conftest import TINY


def bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x8000 >> 16) & 0xFFFF


def write_safetensors(path, tensors):
    """tensors: name -> (shape, list of bf16 words)."""
    header, data, at = {}, [], 0
    for name, (shape, words) in sorted(tensors.items()):
        raw = struct.pack(f"<{len(words)}H", *words)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        data.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


class Maker:
    def __init__(self, seed, scale=0.08):
        self.random = random.Random(seed)
        self.scale = scale

    def matrix(self, n, k, scale=None):
        scale = self.scale if scale is None else scale
        return (n, k), [bf16(self.random.gauss(0, scale)) for _ in range(n * k)]

    def vector(self, n, scale=0.1, middle=1.0):
        return (n,), [bf16(self.random.gauss(middle, scale)) for _ in range(n)]


def layer_tensors(m, prefix, c, arch, input_norm=True):
    h, i, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    t = {f"{prefix}self_attn.q_proj.weight": m.matrix(q, h), f"{prefix}self_attn.k_proj.weight": m.matrix(kv, h),
         f"{prefix}self_attn.v_proj.weight": m.matrix(kv, h), f"{prefix}self_attn.o_proj.weight": m.matrix(h, q),
         f"{prefix}mlp.gate_proj.weight": m.matrix(i, h), f"{prefix}mlp.up_proj.weight": m.matrix(i, h),
         f"{prefix}mlp.down_proj.weight": m.matrix(h, i),
         f"{prefix}post_attention_layernorm.weight": m.vector(h)}
    if input_norm:
        t[f"{prefix}input_layernorm.weight"] = m.vector(h)
    if arch == "qwen2":
        for name, n in (("q", q), ("k", kv), ("v", kv)):
            t[f"{prefix}self_attn.{name}_proj.bias"] = m.vector(n, 0.1, 0.0)
    if arch == "qwen3":
        t[f"{prefix}self_attn.q_norm.weight"] = m.vector(d)
        t[f"{prefix}self_attn.k_norm.weight"] = m.vector(d)
    return t


def config_of(arch, hidden=48, layers=2, heads=3, kv_heads=1, head_dim=16, inter=96, vocab=282):
    name = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[arch]
    return {"architectures": [name], "model_type": arch, "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
            "intermediate_size": inter, "vocab_size": vocab, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
            "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1}


def write_model(path, arch, seed, **shape):
    """A random model under the tokenizer of the embedded one."""
    os.makedirs(path)
    c, m = config_of(arch, **shape), Maker(seed)
    t = {"model.embed_tokens.weight": m.matrix(c["vocab_size"], c["hidden_size"], 0.3),
         "model.norm.weight": m.vector(c["hidden_size"])}
    for layer in range(c["num_hidden_layers"]):
        t.update(layer_tensors(m, f"model.layers.{layer}.", c, arch))
    write_safetensors(os.path.join(path, "model.safetensors"), t)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f)
    for name in os.listdir(TINY):
        if name.startswith("tokenizer") or name == "chat_template.jinja":
            shutil.copy(os.path.join(TINY, name), path)
    return path


def write_drafter(path, model, seed, scale=0.08, **changes):
    """A random drafter in EAGLE-1 form for a model directory."""
    with open(os.path.join(model, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    c.setdefault("head_dim", c["hidden_size"] // c["num_attention_heads"])
    d = dict(config_of("llama"), **{k: c[k] for k in (
        "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size",
        "max_position_embeddings", "rms_norm_eps")}, num_hidden_layers=1, tie_word_embeddings=False)
    if "rope_theta" in c:
        d["rope_theta"] = c["rope_theta"]
    if "rope_parameters" in c:
        d["rope_theta"] = c["rope_parameters"]["rope_theta"]
    d.update(changes)
    os.makedirs(path)
    m = Maker(seed, scale)
    t = layer_tensors(m, "layers.0.", d, "llama", input_norm=False)
    t["fc.weight"] = m.matrix(d["hidden_size"], 2 * d["hidden_size"])
    write_safetensors(os.path.join(path, "model.safetensors"), t)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
        json.dump(d, f)
    return path
