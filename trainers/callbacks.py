"""The thin callback through which a TRL trainer reports: one record an optimizer step, and a way to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.methods import Emit


class Recorder(TrainerCallback):
    """Hands every step's logs on as plain numbers, and ends training when `stop` says so.

    Args:
        record: Receives ``{"step", "of", "seconds", …the trainer's logs}``.
        steps: How many steps training takes.
        stop: Asked after each step; true saves a checkpoint and ends training.
    """

    def __init__(self, record: Emit, steps: int, stop: Callable[[], bool] = lambda: False) -> None:
        self._record, self._steps, self._stop = record, steps, stop
        self.stopped = False
        self._began = time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the step's clock."""
        self._began = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask whether to stop, unless this was the last step."""
        if state.global_step < self._steps and self._stop():
            self.stopped = control.should_save = control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Hand on the logs of one step; the summary at the end of training has no loss of a step and is left out."""
        if logs and "loss" in logs:
            seconds = time.perf_counter() - self._began
            self._record({"step": state.global_step, "of": self._steps, "seconds": seconds, **logs})
