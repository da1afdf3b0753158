"""The problems of peers/trl_grpo_step.py as JSONL for `tlt train`: trl_problems.py > problems.jsonl"""
import json

import reasoning_gym

problems = reasoning_gym.create_dataset("chain_sum", size=64, seed=1, min_terms=2, max_terms=3, min_digits=1,
                                        max_digits=2)
ask = " Think step by step, then give the final number after ####."
for p in problems:
    print(json.dumps({"prompt": [{"role": "user", "content": p["question"] + ask}], "answer": p["answer"]}))
