"""How a trial is tried: what may change from one try to the next without changing its result."""

from __future__ import annotations

from dataclasses import dataclass

CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class Attempt:
    """One try of a trial.

    Attributes:
        number: 1 for the first.
        micro_batch: Rollouts of a micro-batch where it is not the trial's own: halved after out of memory. The gradient
            is the same sum in another order.
        checkpoint_seconds: At least so many seconds lie between two checkpoints; 0: one after every step.
    """

    number: int = 1
    micro_batch: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
