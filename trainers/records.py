"""Store the rollouts and report the metrics of a reinforcement learning trainer. Nothing here affects training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from evals.benchmarks import Benchmark, Problem
from trainers.config import TrialConfig
from trainers.credit.align import Alignment
from trainers.credit.arrays import FloatArray
from trainers.rollouts import Rollout, write_step
from trainers.run import TrainRun

COUNTS = frozenset({
    "policy_tokens", "policy_prompt_tokens", "policy_prefill_tokens", "critic_tokens", "critic_prompt_tokens",
    "critic_cached_tokens", "critic_output_tokens", "critic_money", "critiques", "critiques_reused", "abstained",
    "uncritiqued", "unverified", "value_tokens",
})  # fmt: skip
"""Metrics that are counts: they are summed over processes, all others are averaged."""

FROM_TRL = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clipped_tokens",
    "frac_reward_zero_std": "groups_without_outcome_signal",
    "completions/clipped_ratio": "truncated",
    "sampling/sampling_logp_difference/mean": "sampling_logp_difference",
}
"""Names of TRL's logs that are copied to a step's record, with their names there."""

OWN = COUNTS | {
    "step", "of", "seconds", "seconds_rollout", "seconds_generate", "seconds_verify", "seconds_critique",
    "critic_wait", "outcome", "judged", "judged_as_verified", "wrong_step_rate", "steps_per_response",
    "single_step_responses", "tokens_per_response", "flagged_step_rate", "penalised_tokens", "vote_agreement",
    "groups_process_signal_only", "total_tokens", "train_flops", "budget_share", "policy_parameters",
    "critic_parameters", "cpu_seconds", "mean_ratio",
}  # fmt: skip


class RecordingTrainer(GRPOTrainer):
    """TRL's trainer that stores and reports every batch."""

    config: TrialConfig
    benchmark: Benchmark
    rollouts: Path
    alignment: Alignment
    problems: list[Problem]
    truth: list[frozenset[int] | None]
    outcomes: FloatArray
    prompt_tokens: list[int]
    cut: list[bool]

    @property
    def step_number(self) -> int:
        """Number (from 1) of the step whose batch is being sampled or was sampled last."""
        return int(self.state.global_step) // self.config.train.updates_per_batch + 1

    def judgment(self, row: int) -> dict[str, Any]:
        """Return the judgments of a rollout's steps, by the names of `Rollout`, to be stored with it."""
        return {}

    def report(self, metrics: dict[str, float]) -> None:
        """Add metrics of this step, averaged over processes, or summed if they are in `COUNTS`.

        Every process must report the same names.
        """
        names = sorted(metrics)
        local = torch.tensor([[metrics[name] for name in names]], dtype=torch.float64, device=self.accelerator.device)
        rows = self.accelerator.gather(local)
        for index, name in enumerate(names):
            total = rows[:, index].nansum() if name in COUNTS else rows[:, index].nanmean()
            self._metrics["train"][name].append(total.item())

    def wrong_steps(self, problem: Problem, steps: Sequence[str]) -> frozenset[int] | None:
        """Return the steps that the benchmark's checker calls wrong; None if the benchmark has no checker."""
        return self.benchmark.check_steps(problem, steps).wrong if self.benchmark.checks_steps else None

    def keep(self) -> None:
        """Write the rollouts of the batch."""
        first = self.accelerator.process_index * len(self.problems)
        rollouts = [
            Rollout(
                group=(first + row) // self.config.train.group_size,
                problem=problem.id,
                prompt=problem.prompt,
                answer=problem.answer,
                steps=self.alignment.steps[row],
                tokens=tokens,
                pieces=self.alignment.pieces[row],
                outcome=None if np.isnan(self.outcomes[row]) else float(self.outcomes[row]),
                truth=self.truth[row],
                prompt_tokens=self.prompt_tokens[row],
                cut=self.cut[row],
                **self.judgment(row),
            )
            for row, (problem, tokens) in enumerate(zip(self.problems, self.alignment.tokens, strict=True))
        ]
        write_step(self.rollouts, self.step_number, self.accelerator.process_index, rollouts)

    def rollout_metrics(self) -> dict[str, float]:
        """Return the metrics of rollouts that all methods have; the benchmark's own checker finds the wrong steps."""
        steps = [len(row) for row in self.alignment.steps]
        tokens = (self.alignment.index >= 0).sum(axis=1)
        verified = self.outcomes[~np.isnan(self.outcomes)]
        wrong = [len(row) for row in self.truth if row is not None]
        prompts = float(sum(self.prompt_tokens))
        return {
            "outcome": float(verified.mean()) if verified.size else float("nan"),
            "unverified": float(np.isnan(self.outcomes).sum()),
            "wrong_step_rate": sum(wrong) / max(sum(steps), 1) if wrong else float("nan"),
            "steps_per_response": float(np.mean(steps)),
            "single_step_responses": float(np.mean([count <= 1 for count in steps])),
            "tokens_per_response": float(tokens.mean()),
            "policy_tokens": float(tokens.sum()),
            "policy_prompt_tokens": prompts,
            # vLLM computes a prompt once for all rollouts of its group, Transformers once per rollout.
            "policy_prefill_tokens": prompts / self.config.train.group_size if self.use_vllm else prompts,
        }


def record_step(run: TrainRun, logs: dict[str, Any]) -> None:
    """Pass on one step's record under the names of this package; values that a step lacks are left out."""
    numbers = {name: value for name, value in logs.items() if value is not None and not np.isnan(value)}
    own = {name: value for name, value in numbers.items() if name in OWN}
    own["seconds_update"] = own["seconds"] - own.pop("seconds_rollout")
    trl = {ours: numbers[theirs] for theirs, ours in FROM_TRL.items() if theirs in numbers}
    run.record({**trl, **own})
