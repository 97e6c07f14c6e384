"""Run by test_updates.py: trains with two updates a batch, and kills itself between the two of the third batch."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from trainers import capo
from trainers.callbacks import Recorder
from trainers.config import TrialConfig
from trainers.run import TrainRun

torch.set_num_threads(1)
start, folder, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
begin = Recorder.on_step_begin


def begin_or_die(self: Recorder, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    """Die where the second update of the third batch would begin."""
    if state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    begin(self, args, state, control, **kwargs)


Recorder.on_step_begin = begin_or_die  # type: ignore[method-assign]
capo.train(
    TrainRun(
        config=TrialConfig.model_validate(settings),
        seed=0,
        start=start,
        out=folder / "checkpoints",
        model=folder / "model",
        rollouts=folder / "rollouts",
        record=lambda record: None,
        checkpoint_seconds=0,
    )
)
