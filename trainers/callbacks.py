"""Callbacks of a TRL trainer: one record per step, checkpoints, and a way to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evals.clock import process_seconds
from trainers import Emit
from trainers.budget import BudgetConfig, Meter


class Recorder(TrainerCallback):
    """Passes on the logs of every step as plain numbers.

    A step is all updates on a batch; it is logged after the last update.

    Args:
        record: Receives ``{"step", "of", "seconds", "cpu_seconds", …the trainer's logs}``.
        steps: Maximum number of training steps.
        meter: Adds the spending of a step.
        add: Given a number of this process, returns its sum over the processes that train together.
        updates: Number of updates per step.
    """

    def __init__(
        self,
        record: Emit,
        steps: int,
        meter: Meter | None = None,
        add: Callable[[float], float] = lambda value: value,
        updates: int = 1,
    ) -> None:
        self._record, self._steps, self._meter, self._add, self._updates = record, steps, meter, add, updates
        self._began, self._worked = time.perf_counter(), process_seconds()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the step's clocks before the first of its updates."""
        if state.global_step % self._updates == 0:
            self._began, self._worked = time.perf_counter(), process_seconds()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Pass on the logs of one step; the summary at the end of training has no `loss` and is skipped."""
        if logs and "loss" in logs:
            seconds = time.perf_counter() - self._began
            worked = self._add(process_seconds() - self._worked)
            spent = {"seconds": seconds, "cpu_seconds": worked, **(self._meter.read(logs) if self._meter else {})}
            if self._meter:
                state.log_history[-1].update(spent)  # saved in checkpoints, because a budget counts over all attempts
            if self._meter and self._meter.budget:
                spent["budget_share"] = self._meter.budget.share(list_step_logs(state))
            self._record({"step": state.global_step // self._updates, "of": self._steps, **logs, **spent})


class Saver(TrainerCallback):
    """Makes the trainer save a checkpoint when it is due, and end training on request.

    Processes that train one policy save and stop together. Therefore `agree` is called in each of them after every step
    except the last, after which the trained model itself is saved.

    Args:
        updates: Total number of updates of training.
        every: Seconds between two checkpoints; 0: one after every step.
        stop: Called after each step; if it returns True, a checkpoint is saved and training ends.
        agree: Given the decision of one process, returns whether any process decided so. Clocks and signals differ
            between processes.
        saved: Called with the number of updates of a checkpoint when this process has written its part of it.
        budget: Ends training after the step that reaches it, like the last step does.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - settings and callbacks of saving and stopping
        self,
        updates: int,
        every: float,
        stop: Callable[[], bool],
        agree: Callable[[bool], bool],
        saved: Callable[[int], None],
        budget: BudgetConfig | None = None,
    ) -> None:
        self._updates, self._every, self._stop, self._agree, self._saved = updates, every, stop, agree, saved
        self._budget = budget
        self.stopped = False
        self._last = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock: at this point there is only the initial model or a checkpoint."""
        self._last = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Decide whether to end, stop or save, now that the spending of the step is known."""
        if not logs or "loss" not in logs or state.global_step >= self._updates:
            return
        if self._budget is not None and self._agree(self._budget.share(list_step_logs(state)) >= 1):
            control.should_training_stop = True
        elif self._agree(self._stop()):
            self.stopped = control.should_save = control.should_training_stop = True
        elif self._agree(time.monotonic() - self._last >= self._every):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Report the checkpoint; the step's record was passed on before the checkpoint was written."""
        self._saved(state.global_step)
        self._last = time.monotonic()


def list_step_logs(state: TrainerState) -> list[dict[str, Any]]:
    """Return the logs of all steps, including those before the checkpoint from which training resumed."""
    return [logs for logs in state.log_history if "loss" in logs]
