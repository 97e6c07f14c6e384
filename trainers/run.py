"""Define the arguments of a method's training function."""

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
    """The arguments of a method's training function.

    Attributes:
        start: Folder or repository id of the model and tokenizer from which training starts.
        out: Folder for checkpoints during training.
        model: Folder for the trained model and tokenizer.
        rollouts: Folder for the rollouts with the judgments of their steps.
        record: Called once per step, after all updates on its batch, with its record (plain values), in every training
            process.
        resume: Checkpoint of an earlier attempt from which training resumes.
        critic: Folder of the embedded critic's model, if the settings use it.
        prm: Folder of the embedded process reward model, if the settings use it.
        critique_cache: Folder in which critiques are stored; None: they are not stored.
        stop: Called after every step; True means: save a checkpoint and return.
        checkpoint_seconds: Minimum number of seconds between two checkpoints; 0: one after every step; infinite: only
            at a stop.
        micro_batch: Rollouts per micro-batch; overrides `train.micro_batch`.
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
