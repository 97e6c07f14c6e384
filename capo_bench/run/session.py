"""One run of a study from the lock to the last ledger record: trials, tracking, display, report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from capo_bench.process.interrupt import Interrupts
from capo_bench.run.board import Board, LiveState, list_lengths
from capo_bench.run.limits import check_disk
from capo_bench.run.progress import say, show_progress
from capo_bench.run.runner import Runner, RunOptions, list_pending_trials
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger, fold
from capo_bench.store.lock import hold_lock
from capo_bench.study.estimate import estimate_trial_seconds
from capo_bench.study.last_plan import NOTHING_ASKED, RunRequest, keep_plan

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan
    from capo_bench.track.tracker import Tracker


@dataclass(frozen=True)
class RunResult:
    """Outcome of a run.

    Attributes:
        done: Number of trials of the plan that are done, each id counted once.
        failed: Number of trials that failed in this run.
        interrupted: 130, 143 or 129 after a signal, else 0.
        limit: Why the run stopped by itself, as a sentence; empty if it did not.
        idle: Whether the plan was already finished and nothing was changed.
        link: Path of the curves below the address of MLflow's pages; empty without tracking.
    """

    done: int
    planned: int
    failed: int = 0
    interrupted: int = 0
    limit: str = ""
    idle: bool = False
    link: str = ""

    @property
    def exit_code(self) -> int:
        """0: all trials are done; 1: some are not; 3: stopped by a limit; 130, 143 or 129: interrupted."""
        return self.interrupted or (3 if self.limit else int(self.done < self.planned))


def run_study(  # noqa: PLR0913, PLR0917 - what, where to, how, and what to call
    plan: Plan,
    home: Home,
    options: RunOptions,
    console: Console,
    write_report: Callable[[], Path | None] = lambda: None,
    asked: RunRequest = NOTHING_ASKED,
) -> RunResult:
    """Run the pending trials of a plan and return the outcome; a finished plan is not changed.

    Args:
        plan: The plan to run.
        home: The results folder.
        options: Options of the run.
        console: Shows progress and failures.
        write_report: Called after the trials; returns the folder of the report.
        asked: The arguments that the plan was made from, which are stored with it.

    Raises:
        StudyLockedError: Another process runs the study.
        RunError: The results folder cannot be written, or no worker can be started.
    """
    folder = home.study(plan.study)
    with hold_lock(folder.path / "lock"):
        if _is_finished(plan, home, options):
            finished = fold(Ledger(folder.ledger).read()).finished or {}
            return replace(_make_result(plan, home), idle=True, link=str(finished.get("link") or ""))
        return _run(plan, home, options, console, write_report, asked)


def _run(  # noqa: PLR0913, PLR0917 - as `run_study`
    plan: Plan,
    home: Home,
    options: RunOptions,
    console: Console,
    write_report: Callable[[], Path | None],
    asked: RunRequest,
) -> RunResult:
    pending = list_pending_trials(plan.trials, home)
    folder = home.study(plan.study)
    check_disk(home, pending, options.min_free)
    keep_plan(plan, home, asked)
    ledger = Ledger(folder.ledger)
    for line in ledger.damaged():
        say(console, line, "yellow")
    guesses = {variant.name: estimate_trial_seconds(variant.config, plan.machine) for variant in plan.variants}
    board = Board(
        to_do={trial.id: trial.variant for trial in pending},
        had=len(plan.trial_ids) - len(pending),
        lengths=list_lengths(fold(ledger.read())),
        guesses={name: seconds for name, seconds in guesses.items() if seconds is not None},
    )
    with _open_tracker(plan, home, options, console) as tracker:
        with (
            Interrupts() as interrupts,
            show_progress(console, board, plan.study) as show,
            LiveState(folder.now, board) as now,
        ):
            runner = Runner(plan, home, options, [show, now.on])
            # Fields that `gc`, `bundle` and `verify` need later, in addition to the trials.
            kept = {"question": plan.question, "metrics": list(plan.metrics), "sets": list(asked.sets)}
            kept["baseline"] = plan.baseline
            runner.record("study_started", profile=plan.profile, plan=plan.trial_ids, **kept)
            runner.run(pending, interrupts)
        result = replace(_make_result(plan, home, board.failed, interrupts.exit_code), limit=runner.limit)
        report = None if result.interrupted else write_report()
        finished, tracked, link = result.done == result.planned, False, ""
        if tracker is not None:
            tracked = tracker.close(finished=finished, report=report, answered=asked.answered)
            link = tracker.link
        if finished:
            runner.record("study_finished", profile=plan.profile, tracked=tracked, link=link)
    return replace(result, link=link)


def _open_tracker(
    plan: Plan, home: Home, options: RunOptions, console: Console
) -> AbstractContextManager[Tracker | None]:
    if not options.track:
        return nullcontext()
    from capo_bench.track.store import store_of
    from capo_bench.track.tracker import Tracker

    return Tracker(plan, home, store_of(home), warn=lambda text: say(console, text, "yellow"))


def _is_finished(plan: Plan, home: Home, options: RunOptions) -> bool:
    """Return whether the study's last run finished exactly this plan, and tracked it if `options` ask for tracking."""
    state = fold(Ledger(home.study(plan.study).ledger).read())
    if state.finished is None or (state.profile, sorted(state.plan)) != (plan.profile, sorted(plan.trial_ids)):
        return False
    return not list_pending_trials(plan.trials, home) and (state.finished["tracked"] or not options.track)


def _make_result(plan: Plan, home: Home, failed: int = 0, interrupted: int = 0) -> RunResult:
    ids = plan.trial_ids
    return RunResult(sum(home.trial(trial).done for trial in ids), len(ids), failed, interrupted)
