"""The thin callbacks around a TRL trainer: one record an optimizer step, checkpoints, and a way to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evals.clock import process_seconds
from trainers import Emit
from trainers.budget import BudgetConfig, Meter


class Recorder(TrainerCallback):
    """Hands every step's logs on as plain numbers; a step is all updates on a batch, and is logged after the last.

    Args:
        record: Receives ``{"step", "of", "seconds", "cpu_seconds", …the trainer's logs}``.
        steps: How many steps training takes, at most.
        meter: Adds what a step spent.
        add: Given a number of this process, returns its sum over the processes that train together.
        updates: Updates of a step.
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
        """Start the step's clocks, before the first of its updates."""
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
        """Hand on the logs of one step; the summary at the end of training has no loss of a step and is left out."""
        if logs and "loss" in logs:
            seconds = time.perf_counter() - self._began
            worked = self._add(process_seconds() - self._worked)
            spent = {"seconds": seconds, "cpu_seconds": worked, **(self._meter.read(logs) if self._meter else {})}
            if self._meter:
                state.log_history[-1].update(spent)  # kept in checkpoints: a budget counts over all tries
            if self._meter and self._meter.budget:
                spent["budget_share"] = self._meter.budget.share(step_logs(state))
            self._record({"step": state.global_step // self._updates, "of": self._steps, **logs, **spent})


class Saver(TrainerCallback):
    """Has the trainer save a checkpoint when it is time for one, and end when it is asked to.

    Processes that train one policy save and stop together: `agree` is asked in each of them after every step but the
    last, which leaves the trained model itself.

    Args:
        updates: How many updates training takes.
        every: Seconds between two checkpoints; 0: one after every step.
        stop: Asked after each step; true saves a checkpoint and ends training.
        agree: Given what one process wants, returns whether any of them does. Clocks and signals differ between them.
        saved: Told how many updates a checkpoint has when this process has written its part of it.
        budget: Ends training with the step that reaches it, as the last step does.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - when to save, when to end, and who is asked and told
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
        """Start the clock: what is there so far is the start, or a checkpoint."""
        self._last = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Decide whether to end or stop, and whether to save: what a step spent is known when it is logged."""
        if not logs or "loss" not in logs or state.global_step >= self._updates:
            return
        if self._budget is not None and self._agree(self._budget.share(step_logs(state)) >= 1):
            control.should_training_stop = True
        elif self._agree(self._stop()):
            self.stopped = control.should_save = control.should_training_stop = True
        elif self._agree(time.monotonic() - self._last >= self._every):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Tell of the checkpoint; the step's record was handed on before it was written."""
        self._saved(state.global_step)
        self._last = time.monotonic()


def step_logs(state: TrainerState) -> list[dict[str, Any]]:
    """Return the logs of all steps, those before a checkpoint that training goes on from among them."""
    return [logs for logs in state.log_history if "loss" in logs]
