"""A study as MLflow shows it: an experiment a study, a parent run a profile, a child run a trial.

There is one way in: `StudyBook.deliver` compares what the results folder holds with what the store holds, and writes
the rest. Runs are found again by their tags, so a trial is one run however often it was stopped and resumed. What is
written twice all the same, because nobody heard that it had arrived, is one row: the time of a value is worked out from
what the trial left, not from the clock, and run, name, time, step and value are the row's key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger, fold
from capo_bench.store.lock import locked
from capo_bench.track.desk import Desk, open_experiment
from capo_bench.track.store import Store, open_client
from capo_bench.track.trial import TrialRun, write_end
from capo_bench.track.view import share_view

if TYPE_CHECKING:
    from mlflow.entities import Run

    from capo_bench.study.plan import Plan

Answered = Callable[["Plan", Home], tuple[str, dict[str, float]]]
"""Returns the answer to a study's question, and numbers by name; empty where there is none."""

PARENT = "mlflow.parentRunId"
_STATE = "capo.state"
_STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


@dataclass
class Delivery:
    """What was delivered of one study.

    Attributes:
        delivered: Trials that are in the store now and were not, or in another state.
        there: Trials that were there.
        running: The study is being run: its runner writes what is under way.
        lost: What of a trial could not be read, with the reason; the others are delivered.
    """

    study: str
    delivered: int = 0
    there: int = 0
    running: bool = False
    lost: list[str] = field(default_factory=list)


class StudyBook:
    """The runs of one study and profile in a store; made, or found if they are there. Any call may raise.

    Attributes:
        link: Where the study's curves are, below the address of MLflow's pages.
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
        self._runs = {run.data.tags["capo.trial"]: _trial_run(run) for run in self._search({PARENT: self.parent})}

    def deliver(self, *, live: bool, on_trial: Callable[[int, int], None] = lambda done, of: None) -> Delivery:
        """Write what the store lacks of the trials, and tell how many of them were looked at.

        `live`: this is the study's own run, which also writes the curves of running trials; otherwise what a run of
        somebody else is about is left to it.
        """
        folder = self._home.study(self._plan.study)
        entries = fold(Ledger(folder.ledger).read()).trials
        delivery = Delivery(self._plan.study, running=not live and locked(folder.lock))
        for number, trial in enumerate(self._trials, 1):
            entry = entries.get(trial)
            state = "done" if self._home.trial(trial).done else entry.state if entry else ""
            try:
                self._deliver(trial, state, delivery, live=live)
            except (FileNotFoundError, ValueError, KeyError) as error:  # of what the trial left: the others go on
                delivery.lost.append(f"{trial}: {type(error).__name__}: {error}")
            on_trial(number, len(self._trials))
        return delivery

    def close(self, *, finished: bool, report: Path | None = None, answered: Answered | None = None) -> None:
        """Write that this run of the study is over, its answer, and the files of its report."""
        if report is not None and report.is_dir():
            self._answer(*(answered(self._plan, self._home) if answered else ("", {})))
            for path in sorted(file for file in report.rglob("*") if file.is_file()):
                self._desk.file(self.parent, path, f"report/{path.relative_to(report)}")
        self._client.set_terminated(self.parent, "FINISHED" if finished else "KILLED")

    def _answer(self, headline: str, values: Mapping[str, float]) -> None:
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
            self._end(trial, state)
            delivery.delivered += 1
        elif live and state in ("started", "retried"):
            run = self._run(trial)
            if run.state != "running":
                self._client.update_run(run.id, status="RUNNING")
                run.state = "running"
            run.write_curves(self._desk, self._home.trial(trial).steps)

    def _end(self, trial: str, state: str) -> None:
        run = self._run(trial)
        run.write_curves(self._desk, self._home.trial(trial).steps)
        write_end(self._desk, run, self._trials[trial], self._home.trial(trial), done=state == "done")
        self._client.set_terminated(run.id, _STATUS[state])
        self._client.set_tag(run.id, _STATE, state)  # last: what is said of a trial is there
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
        condition = " and ".join(f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items())
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _run(self, trial: str) -> TrialRun:
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
        return _trial_run(run)


def _trial_run(run: Run) -> TrialRun:
    return TrialRun(str(run.info.run_id), int(run.info.start_time), run.data.tags.get(_STATE))


def _quoted(text: str) -> str:
    """Return a text as a filter of MLflow's takes it; it knows no escapes, but two kinds of quotes."""
    return f'"{text}"' if "'" in text else f"'{text}'"
