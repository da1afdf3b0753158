#!/usr/bin/env python3
"""Make tests/golden/rl/losses.json: advantages, losses and gradients of the GRPO family.

Policy losses come from TRL's own GRPOTrainer._compute_loss, called with a stand-in for the trainer;
gradients by the per-token log-probabilities from torch autograd through it. Advantages are TRL's
formulas with its nanstd. The KL estimators k1 and k2, which TRL's GRPO has not, follow verl's
definitions (verl.trainer.ppo.core_algos.kl_penalty).

    python tools/golden_rl.py            # writes the file
"""
import json
import pathlib
import types
from collections import defaultdict

import torch
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import nanstd

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "rl" / "losses.json"
MAX_TOKENS = 10  # max_completion_length, the constant of Dr. GRPO
EPS = 1e-4


class Trainer:
    """What _compute_loss reads of a trainer."""

    def __init__(self, logp, loss_type, level, low, high, beta):
        self.per_token = logp
        self.loss_type, self.importance_sampling_level = loss_type, level
        self.epsilon_low, self.epsilon_high, self.beta = low, high, beta
        self.args = types.SimpleNamespace(
            delta=None, use_bias_correction_kl=False, steps_per_generation=1)
        self.model = types.SimpleNamespace(training=True)
        self.accelerator = types.SimpleNamespace(
            num_processes=1, device=logp.device, gather=lambda x: x, sync_gradients=True,
            reduce=lambda x, reduction=None: x, gather_for_metrics=lambda x: x)
        self.top_entropy_quantile, self.off_policy_mask_threshold = 1.0, None
        self.aux_loss_enabled = self._entropy_bonus_enabled = self.use_vllm = False
        self.vllm_importance_sampling_correction = False
        self.max_completion_length = MAX_TOKENS
        self.current_gradient_accumulation_steps = 1
        self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        return self.per_token, torch.zeros_like(self.per_token), None


def trl_loss(case, logp, old, ref, mask, advantage):
    """Loss and its gradient by logp, from TRL."""
    names = {"token-mean": "dapo", "sequence-mean": "grpo", "constant": "dr_grpo"}
    level = "sequence" if case["algorithm"] == "gspo" else "token"
    trainer = Trainer(logp, names[case["loss"]], level, case["clip_low"], case["clip_high"], case["kl"])
    ids = torch.zeros_like(mask, dtype=torch.long)
    inputs = dict(prompt_ids=ids[:, :1], prompt_mask=mask[:, :1].long(), completion_ids=ids,
                  completion_mask=mask, advantages=advantage, old_per_token_logps=old,
                  num_items_in_batch=mask.sum())
    if case["kl"]:
        inputs["ref_per_token_logps"] = ref
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    metrics = {k: v[-1] for k, v in trainer._metrics["train"].items()}
    return loss, metrics


def verl_loss(case, logp, old, ref, mask, advantage):
    """Token loss with verl's k1 and k2; aggregation token-mean."""
    ratio = torch.exp(logp - old)
    clipped = torch.clamp(ratio, 1 - case["clip_low"], 1 + case["clip_high"])
    a = advantage[:, None]
    token = -torch.min(ratio * a, clipped * a)
    d = logp - ref
    kl = d if case["kl_estimator"] == "k1" else 0.5 * d * d
    token = token + case["kl"] * kl
    return (token * mask).sum() / mask.sum(), {"kl": ((kl * mask).sum() / mask.sum()).item()}


def policy_case(generator, algorithm, loss, low, high, kl, estimator, spread, samples=4):
    lengths = torch.randint(1, MAX_TOKENS + 1, (samples,), generator=generator)
    lengths[0] = MAX_TOKENS
    shape = (samples, MAX_TOKENS)
    mask = (torch.arange(MAX_TOKENS)[None] < lengths[:, None]).double()
    # The inputs are fp32 numbers; the reference computes in double.
    old = (-torch.rand(shape, generator=generator) * 4).float().double()
    logp = (old + spread * torch.randn(shape, generator=generator).double()).float().double()
    ref = (old + 0.3 * torch.randn(shape, generator=generator).double()).float().double()
    advantage = torch.randn(samples, generator=generator).float().double()
    advantage[1] = 0.0
    logp.requires_grad_(True)
    case = dict(algorithm=algorithm, loss=loss, clip_low=low, clip_high=high, kl=kl,
                kl_estimator=estimator, max_tokens=MAX_TOKENS)
    compute = trl_loss if estimator == "k3" else verl_loss
    value, metrics = compute(case, logp, old, ref, mask, advantage)
    value.backward()
    rows = lambda x: [x[i, : lengths[i]].tolist() for i in range(samples)]
    case.update(advantage=advantage.tolist(), logp=rows(logp.detach()), old=rows(old), ref=rows(ref),
                value=value.item(), gradient=rows(logp.grad))
    if "kl" in metrics:
        case["kl_mean"] = metrics["kl"]
    if level_is_token(case) and "clip_ratio/low_mean" in metrics:
        case["clip_low_mean"] = metrics["clip_ratio/low_mean"]
        case["clip_high_mean"] = metrics["clip_ratio/high_mean"]
    return case


def level_is_token(case):
    return case["algorithm"] != "gspo"


def advantage_case(generator, algorithm, scale, groups=3, samples=5):
    reward = torch.randint(0, 3, (groups, samples), generator=generator).double() / 2
    reward[1] = reward[1, 0]  # a constant group
    centred = reward - reward.mean(1, keepdim=True)
    if algorithm == "rloo":  # TRL: baseline = (sum - r) / (n - 1)
        value = reward - (reward.sum(1, keepdim=True) - reward) / (samples - 1)
    elif algorithm == "dr-grpo" or scale == "none":
        value = centred
    elif scale == "group":
        value = centred / (torch.stack([nanstd(r) for r in reward])[:, None] + EPS)
    else:
        value = centred / (nanstd(reward.flatten()) + EPS)
    return dict(algorithm=algorithm, scale=scale, reward=reward.tolist(), advantage=value.tolist())


def build():
    g = torch.Generator().manual_seed(1)
    policy = []
    for loss in ("token-mean", "sequence-mean", "constant"):
        for spread in (0.0, 0.05, 0.6):
            policy.append(policy_case(g, "grpo", loss, 0.2, 0.28, 0.0, "k3", spread))
        policy.append(policy_case(g, "grpo", loss, 0.2, 0.2, 0.1, "k3", 0.3))
        policy.append(policy_case(g, "gspo", loss, 3e-4, 4e-4, 0.0, "k3", 0.002))
        policy.append(policy_case(g, "gspo", loss, 0.1, 0.1, 0.05, "k3", 0.3))
    for estimator in ("k1", "k2"):
        policy.append(policy_case(g, "grpo", "token-mean", 0.2, 0.28, 0.1, estimator, 0.3))
    advantages = [advantage_case(g, a, s) for a, s in (
        ("grpo", "group"), ("grpo", "batch"), ("grpo", "none"), ("dapo", "group"),
        ("gspo", "group"), ("dr-grpo", "none"), ("rloo", "none"))]
    return {"policy": policy, "advantages": advantages}


if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=None, separators=(",", ":")) + "\n")
    print(PATH, PATH.stat().st_size, "bytes")
