"""Compute the credit of complete groups, whose rollouts may be distributed over the training processes.

A method needs only a few numbers per step of a rollout. Therefore every process receives all rollouts, computes the
same credit, and keeps that of its own rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]

from trainers.credit.batch import Batch, Earned, Evidence, Layout, lay_out, process_signal_only
from trainers.methods import find_credit_function

if TYPE_CHECKING:
    from trainers.credit.arrays import FloatArray
    from trainers.records import RecordingTrainer


@dataclass(frozen=True)
class Credited:
    """The credit of this process's rollouts, and the share of groups with a signal from the process reward alone."""

    layout: Layout
    earned: Earned
    process_only: float

    def padded(self, width: int) -> torch.Tensor:
        """Return the advantages in TRL's format, shape (B, width); 0 for padding."""
        advantages = self.layout.by_token(self.earned.advantages)
        return torch.from_numpy(np.pad(advantages, ((0, 0), (0, width - advantages.shape[1]))))


def credit_groups(trainer: RecordingTrainer, evidence: Evidence) -> Credited:
    """Compute the credit of a verified batch."""
    config = trainer.config
    layout = lay_out(trainer.alignment.tokens)
    whole = replace(_gather_batches(Batch(layout, trainer.outcomes, 1, evidence)), group_size=config.train.group_size)
    earned = find_credit_function(config.method)(whole, config.terms)
    first = trainer.accelerator.process_index * len(layout.steps)
    start = int(whole.layout.steps[:first].sum())
    mine = slice(start, start + len(layout.tokens))
    return Credited(
        layout,
        Earned(earned.advantages[mine], _select_part(earned.rewards, mine), _select_part(earned.charges, mine)),
        process_signal_only(whole, earned.advantages),
    )


def _gather_batches(own: Batch) -> Batch:
    """Return the rollouts of all processes, in the order of the processes."""
    parts: list[Batch] = gather_object([own])
    layout = Layout(
        np.concatenate([part.layout.steps for part in parts]), np.concatenate([part.layout.tokens for part in parts])
    )
    given = [entry.name for entry in fields(Evidence) if getattr(own.evidence, entry.name) is not None]
    evidence = {name: np.concatenate([part.evidence.given(name) for part in parts]) for name in given}
    return Batch(layout, np.concatenate([part.outcomes for part in parts]), 1, Evidence(**evidence))


def _select_part(values: FloatArray | None, rows: slice) -> FloatArray | None:
    return None if values is None else values[rows]
