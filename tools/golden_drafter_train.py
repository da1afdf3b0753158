#!/usr/bin/env python3
"""Losses, gradients and AdamW steps of drafter training, by torch in double precision.

Nothing of the program's way to compute is used here: every chain is drafted by itself, key after key,
as the definition in src/train/drafter.h says, and autograd does the rest. Weights and data are the
hashes of tests/unit/train/drafter_case.c.

    python tools/golden_drafter_train.py     # writes tests/golden/train/drafter.{txt,f32}
"""
import pathlib

import numpy as np
import torch

DIR = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "train"
EMBED, HEAD, TOKENS, HIDDEN, FIRST_PARAM = 0, 1, 2, 3, 16
THETA, EPS = 10000.0, 1e-6
ADAMW = dict(lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
DECAY, CLIP = 0.1, 0.5
FIELDS = [("numerics", str), ("hidden", int), ("heads", int), ("kv_heads", int), ("head_dim", int),
          ("inter", int), ("vocab", int), ("hot", int), ("seed", int), ("unroll", int),
          ("decay", float), ("w_hidden", float), ("w_token", float), ("temperature", float),
          ("steps", int), ("samples", int)]
CASES = [
    "portable 14 4 2 6 19 97 41 1 1 0.8 1 0.1 1 0 4 1 2 3 9 20 70 2 40",
    "portable 14 4 2 6 19 97 41 2 2 0.5 0.3 1 0.7 3 4 5 30 1 17 64 80 1 1",
    "portable 14 4 2 6 19 97 41 3 3 0.8 0.1 1 1 2 5 1 4 9 75 3 5 2 3 30 41",
]


def parse(line):
    words = line.split()
    case = {name: kind(word) for (name, kind), word in zip(FIELDS, words)}
    rest = [int(w) for w in words[len(FIELDS):]]
    case["shapes"] = list(zip(rest[::2], rest[1::2]))
    return case


def hashes(seed, tensor, n):
    u = np.arange(1, n + 1, dtype=np.uint32) * np.uint32(2654435761)
    u += np.uint32((tensor * 0x9E3779B9 + seed * 0x85EBCA6B) & 0xFFFFFFFF)
    u = (u ^ (u >> 15)) * np.uint32(0x2C1B3C6D)
    u = (u ^ (u >> 12)) * np.uint32(0x297A2D39)
    return u ^ (u >> 15)


def values(seed, tensor, shape, scale):
    u = hashes(seed, tensor, int(np.prod(shape)))
    return torch.tensor(((u & 255).astype(np.float64) - 128) * scale).reshape(shape)


def gains(seed, tensor, n):
    return torch.tensor(1 + (hashes(seed, tensor, n) & 127).astype(np.float64) / 128)


def shapes_of(c):
    """Parameters in the order of their names."""
    h, q, kv, i = c["hidden"], c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"], c["inter"]
    shapes = {"fc.weight": (h, 2 * h), "layers.0.mlp.down_proj.weight": (h, i),
              "layers.0.mlp.gate_proj.weight": (i, h), "layers.0.mlp.up_proj.weight": (i, h),
              "layers.0.post_attention_layernorm.weight": (h,),
              "layers.0.self_attn.k_proj.weight": (kv, h), "layers.0.self_attn.o_proj.weight": (h, q),
              "layers.0.self_attn.q_proj.weight": (q, h), "layers.0.self_attn.v_proj.weight": (kv, h)}
    assert list(shapes) == sorted(shapes)
    return shapes


class Drafter:
    """One pass of the drafter over one row, with the keys that it may see."""

    def __init__(self, c, w):
        self.c, self.w = c, w

    def rope(self, x, position):
        half = x.shape[-1] // 2
        angle = position * THETA ** (-torch.arange(half, dtype=x.dtype) / half)
        cos, sin = torch.cos(angle), torch.sin(angle)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def row(self, embedding, hidden, position):
        """x, q, k, v of one row."""
        c, w = self.c, self.w
        x = w["fc.weight"] @ torch.cat([embedding, hidden])
        part = {n: (w[f"layers.0.self_attn.{n}_proj.weight"] @ x).reshape(-1, c["head_dim"])
                for n in "qkv"}
        return x, self.rope(part["q"], position), self.rope(part["k"], position), part["v"]

    def finish(self, x, q, keys, vals):
        """keys, vals [n, kv_heads, D]; returns the output."""
        c, w = self.c, self.w
        group = c["heads"] // c["kv_heads"]
        keys = keys.repeat_interleave(group, 1)
        vals = vals.repeat_interleave(group, 1)
        p = torch.softmax(torch.einsum("hd,nhd->hn", q, keys) / c["head_dim"] ** 0.5, -1)
        x = x + w["layers.0.self_attn.o_proj.weight"] @ torch.einsum("hn,nhd->hd", p, vals).reshape(-1)
        h = x * torch.rsqrt((x * x).mean() + EPS) * w["layers.0.post_attention_layernorm.weight"]
        m = torch.nn.functional.silu(w["layers.0.mlp.gate_proj.weight"] @ h)
        m = m * (w["layers.0.mlp.up_proj.weight"] @ h)
        return x + w["layers.0.mlp.down_proj.weight"] @ m


def losses(c, w, tokens, hidden, embed, head):
    """Total loss (unnormalised), its weight, sums [unroll][6]."""
    drafter = Drafter(c, w)
    temperature = c["temperature"] if c["temperature"] >= 1e-3 else 1.0
    sums = torch.zeros(c["unroll"], 6, dtype=torch.float64)
    total, weight, first = torch.zeros((), dtype=torch.float64), 0.0, 0
    for prompt, n in c["shapes"]:
        t, h = tokens[first:first + n], hidden[first:first + n]
        first += n
        rows = [drafter.row(embed[t[s + 1]], h[s], s) for s in range(n - 1)]
        for start in range(prompt - 1, n - 1):
            keys = [r[2] for r in rows[:start + 1]]
            vals = [r[3] for r in rows[:start + 1]]
            x, q = rows[start][:2]
            for j in range(min(c["unroll"], n - 1 - start)):
                if j:
                    x, q, k, v = drafter.row(embed[t[start + j + 1]], out, start + j)
                    keys, vals = keys + [k], vals + [v]
                out = drafter.finish(x, q, torch.stack(keys), torch.stack(vals))
                want = h[start + j + 1]
                p = torch.softmax(head @ want / temperature, -1)
                logq = torch.log_softmax(head @ out / temperature, -1)
                smooth = torch.nn.functional.smooth_l1_loss(out, want)
                cross = -(p * logq).sum()
                total = total + c["decay"] ** j * (c["w_hidden"] * smooth + c["w_token"] * cross)
                weight += c["decay"] ** j
                agree = float(p.argmax() == logq.argmax())
                row = [torch.special.entr(p).sum(), torch.minimum(p, logq.exp()).sum()]
                sums[j] += torch.tensor([1, smooth.item(), cross.item(), *(x.item() for x in row),
                                         agree])
    return total, weight, sums


def run(line):
    """What drafter_tool writes for this case, as one array of doubles."""
    c = parse(line)
    n = sum(length for _, length in c["shapes"])
    tokens = torch.tensor((hashes(c["seed"], TOKENS, n) % c["vocab"]).astype(np.int64))
    hidden = values(c["seed"], HIDDEN, (n, c["hidden"]), 2.0 ** -6)
    embed = values(c["seed"], EMBED, (c["vocab"], c["hidden"]), 2.0 ** -7)
    head = values(c["seed"], HEAD, (c["vocab"], c["hidden"]), 2.0 ** -7)[0:2 * c["hot"]:2]
    master = {name: values(c["seed"], FIRST_PARAM + i, shape, 2.0 ** -9) if len(shape) == 2
              else gains(c["seed"], FIRST_PARAM + i, shape[0])
              for i, (name, shape) in enumerate(shapes_of(c).items())}
    for p in master.values():
        p.requires_grad_(True)
    groups = [dict(params=[p for p in master.values() if p.dim() == 2], weight_decay=DECAY),
              dict(params=[p for p in master.values() if p.dim() == 1], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, **ADAMW)
    result, norm = [], None
    for step in range(max(c["steps"], 1)):
        w = {k: p.detach().to(torch.bfloat16).double().requires_grad_(True) for k, p in master.items()}
        total, weight, sums = losses(c, w, tokens, hidden, embed, head)
        total.backward()
        if step == 0:
            result += [sums.reshape(-1)] + [p.grad.reshape(-1) for p in w.values()]
        if not c["steps"]:
            break
        for k, p in master.items():
            p.grad = w[k].grad / weight
        norm = torch.nn.utils.clip_grad_norm_(master.values(), CLIP)
        optimizer.step()
    if c["steps"]:
        result += [p.detach().reshape(-1) for p in master.values()] + [norm.reshape(1)]
    return torch.cat(result).numpy()


def main():
    DIR.mkdir(parents=True, exist_ok=True)
    (DIR / "drafter.txt").write_text("".join(line + "\n" for line in CASES))
    np.concatenate([run(line) for line in CASES]).astype("<f4").tofile(DIR / "drafter.f32")


if __name__ == "__main__":
    main()
