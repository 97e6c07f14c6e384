"""The credit of whole groups, whose rollouts may be spread over the processes that train.

What a method reads of a rollout is a few numbers a step, so every process is given all rollouts and works out the same
credit; it keeps that of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainers.credit.batch import Batch, Earned, Evidence, Layout, layout_of, process_signal_only
from trainers.methods import credit_function

if TYPE_CHECKING:
    from trainers.credit.align import Alignment
    from trainers.credit.arrays import FloatArray
    from trainers.records import RecordingTrainer

EVIDENCE = tuple(entry.name for entry in fields(Evidence))


@dataclass(frozen=True)
class Credited:
    """The credit of this process's rollouts.

    Attributes:
        layout: Their steps and tokens.
        earned: What the steps have earned.
        process_only: Share of all groups with signal from the process alone.
    """

    layout: Layout
    earned: Earned
    process_only: float

    def padded(self, width: int) -> torch.Tensor:
        """Return the advantages as TRL takes them, shape (B, width); 0 for padding."""
        advantages = self.layout.by_token(self.earned.advantages)
        return torch.from_numpy(np.pad(advantages, ((0, 0), (0, width - advantages.shape[1]))))


def credit_groups(trainer: RecordingTrainer, evidence: Evidence) -> Credited:
    """Work out the credit of a batch that is known and verified.

    Args:
        trainer: Whose rollouts they are; its settings say how.
        evidence: What is known of the steps of this process's rollouts.
    """
    config = trainer.config
    layout = layout_of_alignment(trainer.alignment)
    own = Batch(layout, trainer.outcomes, 1, evidence)
    everyone = _gather(trainer, own)
    whole = Batch(everyone.layout, everyone.outcomes, config.train.group_size, everyone.evidence)
    earned = credit_function(config.method)(whole, config.terms)
    first = trainer.accelerator.process_index * len(layout.steps)
    start = int(whole.layout.steps[:first].sum())
    mine = slice(start, start + len(layout.tokens))
    return Credited(
        layout,
        Earned(earned.advantages[mine], _part(earned.rewards, mine), _part(earned.charges, mine)),
        process_signal_only(whole, earned.advantages),
    )


def layout_of_alignment(alignment: Alignment) -> Layout:
    """Return the layout of rollouts that are cut into steps."""
    pairs = zip(alignment.index, alignment.steps, strict=True)
    return layout_of([np.bincount(index[index >= 0], minlength=len(steps)).tolist() for index, steps in pairs])


def pack(batch: Batch, width: int) -> FloatArray:
    """Return a batch as one array of shape (B, 2 + width · columns), for steps of up to `width` a rollout."""
    layout = batch.layout
    columns = [layout.tokens.astype(np.float64), *_columns(batch.evidence)]
    laid = np.full((len(columns), len(layout.steps), width), np.nan)
    laid[:, layout.owner, layout.place] = columns
    return np.column_stack([batch.outcomes, layout.steps, *laid])


def unpack(packed: FloatArray, like: Evidence) -> Batch:
    """Return the batch that was packed.

    Args:
        packed: Of the rollouts of all processes.
        like: Which evidence there is.
    """
    named = [name for name in EVIDENCE if getattr(like, name) is not None]
    steps = packed[:, 1].astype(np.int64)
    laid = packed[:, 2:].reshape(len(packed), 1 + len(named), -1)
    present = np.arange(laid.shape[2]) < steps[:, None]
    tokens, *columns = (laid[:, column][present] for column in range(1 + len(named)))
    layout = Layout(steps, tokens.astype(np.int64))
    return Batch(layout, packed[:, 0], 1, Evidence(**dict(zip(named, columns, strict=True))))


def _gather(trainer: RecordingTrainer, own: Batch) -> Batch:
    accelerator = trainer.accelerator
    if accelerator.num_processes == 1:
        return own
    longest = torch.tensor([own.layout.steps.max(initial=1)], device=accelerator.device)
    packed = torch.from_numpy(pack(own, int(accelerator.gather(longest).max()))).to(accelerator.device)
    return unpack(accelerator.gather(packed).cpu().numpy(), own.evidence)


def _columns(evidence: Evidence) -> list[FloatArray]:
    values = [getattr(evidence, name) for name in EVIDENCE]
    return [value for value in values if value is not None]


def _part(values: FloatArray | None, rows: slice) -> FloatArray | None:
    return None if values is None else values[rows]
