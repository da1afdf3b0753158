#!/usr/bin/env python3
"""Make tests/golden/drafter: a drafter of EAGLE-1 form, its target, and what it answers.

Written with transformers' own decoder layer, its input norm taken out, in double precision over
weights that fit in bf16:

    target/   Hugging Face directory: embedding and LM head are the drafter's too
    drafter/  EAGLE-1 directory with a bias, and with hot tokens
    io.safetensors  hidden [T, H] f32; tokens [T + D] i32 (token t+1 of pair t, then drafted ones);
                    output [T + D, H] f32; logits [T + D, hot] f32

The last D rows are drafted: their hidden state is the output of the row before.

    python tools/golden_drafter.py [OUT] [--heads N --kv-heads N --head-dim N --hidden N --seed N]
"""
import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "drafter"


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("out", nargs="?", type=pathlib.Path, default=PATH)
    for name, value in [("heads", 4), ("kv-heads", 2), ("head-dim", 10), ("hidden", 36),
                        ("pairs", 37), ("drafted", 4), ("seed", 1)]:
        a.add_argument("--" + name, type=int, default=value)
    return a.parse_args()


def bf16_normal(*shape, scale):
    return (torch.randn(*shape) * scale).to(torch.bfloat16)


class Drafter(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        h = config.hidden_size
        self.fc = torch.nn.Linear(2 * h, h, bias=True)
        self.layers = torch.nn.ModuleList([LlamaDecoderLayer(config, 0)])
        self.layers[0].input_layernorm = torch.nn.Identity()
        for p in self.parameters():
            norm = p.dim() == 1 and p is not self.fc.bias
            p.data = bf16_normal(*p.shape, scale=0.1) + (1 if norm else 0)
        self.rotary = LlamaRotaryEmbedding(config)

    def forward(self, embedded, hidden):
        x = self.fc(torch.cat([embedded, hidden], dim=-1))[None]
        n = x.shape[1]
        mask = torch.full((n, n), -1e30, dtype=x.dtype).triu(1)[None, None]
        rotary = self.rotary(x, torch.arange(n)[None])
        y = self.layers[0](x, attention_mask=mask, position_embeddings=rotary)
        return (y[0] if isinstance(y, tuple) else y)[0]


@torch.no_grad()
def main():
    a = arguments()
    torch.manual_seed(a.seed)
    config = LlamaConfig(
        hidden_size=a.hidden, intermediate_size=52, num_hidden_layers=1,
        num_attention_heads=a.heads, num_key_value_heads=a.kv_heads, head_dim=a.head_dim,
        vocab_size=150, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=None,
        eos_token_id=None, tie_word_embeddings=True, attn_implementation="eager")
    target = LlamaForCausalLM(config).to(torch.bfloat16)
    target.get_input_embeddings().weight.data = bf16_normal(150, a.hidden, scale=0.5)
    target.save_pretrained(a.out / "target")
    drafter = Drafter(config)
    (a.out / "drafter").mkdir(parents=True, exist_ok=True)
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in drafter.state_dict().items()},
              a.out / "drafter" / "model.safetensors")
    fields = json.loads((a.out / "target" / "config.json").read_text())
    (a.out / "drafter" / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
    hot = list(range(3, 150, 2))
    (a.out / "drafter" / "hot_tokens.json").write_text(json.dumps(
        {"hot_tokens": hot, "target": {"hidden_size": a.hidden, "vocab_size": 150}}) + "\n")

    drafter, table = drafter.double(), target.get_input_embeddings().weight.double()
    tokens = torch.randint(0, 150, (a.pairs + a.drafted,))
    true = torch.randn(a.pairs, a.hidden).float()
    hidden = true.double()
    output = drafter(table[tokens[:a.pairs]], hidden)
    for i in range(a.pairs, a.pairs + a.drafted):
        hidden = torch.cat([hidden, output[-1:]])
        output = drafter(table[tokens[:i + 1]], hidden)
    logits = output @ table[hot].T
    save_file({"hidden": true, "tokens": tokens.int(), "output": output.float().contiguous(),
               "logits": logits.float().contiguous()}, a.out / "io.safetensors")


if __name__ == "__main__":
    main()
