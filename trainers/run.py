"""What a method is given to train a trial."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainers import Emit

if TYPE_CHECKING:
    from trainers.config import TrialConfig


@dataclass(frozen=True)
class TrainRun:
    """What a method is given.

    Attributes:
        start: Folder, or repository id, of the model and tokenizer that training starts from.
        out: Folder for checkpoints while training.
        model: Folder that receives the trained model and tokenizer.
        rollouts: Folder that receives the rollouts, with what judged their steps.
        record: Called once a step, after all updates on its batch, with its record (plain values), in every process
            that trains.
        resume: Checkpoint of an earlier try to go on from.
        critic: Folder of the embedded critic's model, where the settings ask for it.
        prm: Folder of the embedded process reward model, where the settings ask for it.
        critique_cache: Folder in which critiques are kept; None keeps none.
        stop: Asked after every step; true means: save a checkpoint and return.
        checkpoint_seconds: At least so many seconds lie between two checkpoints; 0: one after every step; infinite:
            only at a stop.
        micro_batch: Rollouts of a micro-batch in place of `train.micro_batch`.
    """

    config: TrialConfig
    seed: int
    start: str
    out: Path
    model: Path
    rollouts: Path
    record: Emit
    resume: str | None = None
    critic: Path | None = None
    prm: Path | None = None
    critique_cache: Path | None = None
    stop: Callable[[], bool] = lambda: False
    checkpoint_seconds: float = math.inf
    micro_batch: int | None = None
