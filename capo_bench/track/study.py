"""Track a study in MLflow: one experiment per study, one parent run per profile, one child run per trial.

All writing goes through `StudyBook.deliver`, which compares the results folder with the store and writes what is
missing. Runs are found by their tags, so a trial has a single run even if it was stopped and resumed. A value that is
written twice, because the confirmation of the first write was lost, is stored once: its time is computed from the
trial's files, not from the clock, and run, name, time, step and value are the key of the row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger, fold
from capo_bench.store.lock import is_locked
from capo_bench.track.desk import Desk, open_experiment
from capo_bench.track.store import Store, open_client
from capo_bench.track.trial import TrialRun, write_end
from capo_bench.track.view import share_view

if TYPE_CHECKING:
    from mlflow.entities import Run

    from capo_bench.study.plan import Plan

Answered = Callable[["Plan", Home], tuple[str, dict[str, float]]]
"""Returns the answer to a study's question, and numbers by name; both are empty without an answer."""

PARENT = "mlflow.parentRunId"
_STATE = "capo.state"
_STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


@dataclass
class Delivery:
    """Result of delivering one study.

    Attributes:
        delivered: Number of trials that were missing in the store or in another state, and are now written.
        there: Number of trials that were already in the store.
        running: Whether the study is running; its runner then writes the unfinished trials.
        lost: Files of trials that could not be read, with the reason; the other trials are delivered.
    """

    study: str
    delivered: int = 0
    there: int = 0
    running: bool = False
    lost: list[str] = field(default_factory=list)


class StudyBook:
    """The runs of one study and profile in a store; existing runs are found, others created. Any call may raise.

    Attributes:
        link: Path of the study's curves below the address of MLflow's pages.
        parent: Id of the parent run.
    """

    def __init__(self, plan: Plan, home: Home, store: Store) -> None:
        self._plan, self._home = plan, home
        self._trials = {trial.id: trial for trial in plan.trials}
        self._client = open_client(store)
        self._experiment = open_experiment(self._client, plan.study, store)
        self._desk = Desk(self._client, self._experiment, store)
        self.link = share_view(self._client, self._experiment)
        self.parent = self._open_parent()
        self._runs = {run.data.tags["capo.trial"]: _make_trial_run(run) for run in self._search({PARENT: self.parent})}

    def deliver(self, *, live: bool, on_trial: Callable[[int, int], None] = lambda done, of: None) -> Delivery:
        """Write everything about the trials that the store lacks.

        `on_trial` receives the number of trials that have been checked, and the number of all trials.

        `live` is True in the study's own run, which also writes the curves of running trials. Otherwise unfinished
        trials of a running study are left to its run.
        """
        folder = self._home.study(self._plan.study)
        entries = fold(Ledger(folder.ledger).read()).trials
        delivery = Delivery(self._plan.study, running=not live and is_locked(folder.lock))
        for number, trial in enumerate(self._trials, 1):
            entry = entries.get(trial)
            state = "done" if self._home.trial(trial).done else entry.state if entry else ""
            try:
                self._deliver(trial, state, delivery, live=live)
            # damaged files of this trial; continue with the others
            except (FileNotFoundError, ValueError, KeyError) as error:
                delivery.lost.append(f"{trial}: {type(error).__name__}: {error}")
            on_trial(number, len(self._trials))
        return delivery

    def close(self, *, finished: bool, report: Path | None = None, answered: Answered | None = None) -> None:
        """Write the end of this run of the study, its answer, and the files of its report."""
        if report is not None and report.is_dir():
            self._write_answer(*(answered(self._plan, self._home) if answered else ("", {})))
            for path in sorted(file for file in report.rglob("*") if file.is_file()):
                self._desk.file(self.parent, path, f"report/{path.relative_to(report)}")
        self._client.set_terminated(self.parent, "FINISHED" if finished else "KILLED")

    def _write_answer(self, headline: str, values: Mapping[str, float]) -> None:
        if headline:
            self._desk.values(self.parent, values, "", int(time.time() * 1000))
            note = f"**Question:** {self._plan.question}\n\n**Answer:** {headline}"
            self._client.set_tag(self.parent, "mlflow.note.content", note)
            self._client.set_tag(self.parent, "capo.answer", headline[:5000])

    def _deliver(self, trial: str, state: str, delivery: Delivery, *, live: bool) -> None:
        settled = state == "done" or (state in ("failed", "stopped") and not delivery.running)
        if settled and trial in self._runs and self._runs[trial].state == state:
            delivery.there += 1
        elif settled:
            self._write_end(trial, state)
            delivery.delivered += 1
        elif live and state in ("started", "retried"):
            run = self._get_run(trial)
            if run.state != "running":
                self._client.update_run(run.id, status="RUNNING")
                run.state = "running"
            run.write_curves(self._desk, self._home.trial(trial).steps)

    def _write_end(self, trial: str, state: str) -> None:
        run = self._get_run(trial)
        run.write_curves(self._desk, self._home.trial(trial).steps)
        write_end(self._desk, run, self._trials[trial], self._home.trial(trial), done=state == "done")
        self._client.set_terminated(run.id, _STATUS[state])
        # written last, when everything else about the trial is in the store
        self._client.set_tag(run.id, _STATE, state)
        run.state = state

    def _open_parent(self) -> str:
        tags = {"capo.kind": "study", "capo.study": self._plan.study, "capo.profile": self._plan.profile}
        for run in self._search(tags):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        name = f"{self._plan.study} ({self._plan.profile})"
        tags |= {"mlflow.note.content": f"**Question:** {self._plan.question}"}
        return str(self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id)

    def _search(self, tags: Mapping[str, str]) -> Iterator[Run]:
        condition = " and ".join(f"tags.`{key}` = {_quote(value)}" for key, value in tags.items())
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _get_run(self, trial: str) -> TrialRun:
        if trial not in self._runs:
            self._runs[trial] = self._create(trial)
        return self._runs[trial]

    def _create(self, name: str) -> TrialRun:
        trial = self._trials[name]
        tags = {PARENT: self.parent, "capo.kind": "trial", "capo.trial": trial.id, "capo.variant": trial.variant}
        tags |= {"capo.study": self._plan.study, "capo.profile": self._plan.profile}
        title = f"{trial.variant}, seed {trial.seed}"
        run = self._client.create_run(self._experiment, tags=tags, run_name=title)
        self._desk.settings(
            run.info.run_id, trial, [key for variant in self._plan.variants for key in variant.overrides]
        )
        return _make_trial_run(run)


def _make_trial_run(run: Run) -> TrialRun:
    return TrialRun(str(run.info.run_id), int(run.info.start_time), run.data.tags.get(_STATE))


def _quote(text: str) -> str:
    """Return a text in quotes for an MLflow filter, which has two kinds of quotes but no escapes."""
    return f'"{text}"' if "'" in text else f"'{text}'"
