"""The credit of whole groups, whose rollouts may be spread over the processes that train.

What a method reads of a rollout is a few numbers a step, so every process is given all rollouts and works out the same
credit; it keeps that of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]

from trainers.credit.batch import Batch, Earned, Evidence, Layout, layout_of, process_signal_only
from trainers.methods import credit_function

if TYPE_CHECKING:
    from trainers.credit.arrays import FloatArray
    from trainers.records import RecordingTrainer


@dataclass(frozen=True)
class Credited:
    """The credit of this process's rollouts, and the share of all groups with signal from the process alone."""

    layout: Layout
    earned: Earned
    process_only: float

    def padded(self, width: int) -> torch.Tensor:
        """Return the advantages as TRL takes them, shape (B, width); 0 for padding."""
        advantages = self.layout.by_token(self.earned.advantages)
        return torch.from_numpy(np.pad(advantages, ((0, 0), (0, width - advantages.shape[1]))))


def credit_groups(trainer: RecordingTrainer, evidence: Evidence) -> Credited:
    """Work out the credit of a batch that is known and verified."""
    config = trainer.config
    layout = layout_of(trainer.alignment.tokens)
    whole = replace(_gather(Batch(layout, trainer.outcomes, 1, evidence)), group_size=config.train.group_size)
    earned = credit_function(config.method)(whole, config.terms)
    first = trainer.accelerator.process_index * len(layout.steps)
    start = int(whole.layout.steps[:first].sum())
    mine = slice(start, start + len(layout.tokens))
    return Credited(
        layout,
        Earned(earned.advantages[mine], _part(earned.rewards, mine), _part(earned.charges, mine)),
        process_signal_only(whole, earned.advantages),
    )


def _gather(own: Batch) -> Batch:
    """Return the rollouts of all processes, in their order."""
    parts: list[Batch] = gather_object([own])
    layout = Layout(
        np.concatenate([part.layout.steps for part in parts]), np.concatenate([part.layout.tokens for part in parts])
    )
    given = [entry.name for entry in fields(Evidence) if getattr(own.evidence, entry.name) is not None]
    evidence = {name: np.concatenate([part.evidence.given(name) for part in parts]) for name in given}
    return Batch(layout, np.concatenate([part.outcomes for part in parts]), 1, Evidence(**evidence))


def _part(values: FloatArray | None, rows: slice) -> FloatArray | None:
    return None if values is None else values[rows]
