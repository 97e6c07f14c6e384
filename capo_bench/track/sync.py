"""Deliver missing results to the tracking store from the results folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home
from capo_bench.study.last_plan import read_last_plan
from capo_bench.track.store import Store, silence_mlflow

if TYPE_CHECKING:
    from capo_bench.track.study import Answered, Delivery


def sync(
    home: Home,
    study: str,
    store: Store,
    on_trial: Callable[[int, int], None] = lambda done, of: None,
    answered: Answered | None = None,
) -> Delivery:
    """Write everything of a study's last plan that is not in the store, without duplicates.

    Raises:
        RunError: The ledger or the plan cannot be read.
        Exception: Any error of the store; the message may contain a password.
    """
    silence_mlflow()
    from capo_bench.track.study import StudyBook

    plan = read_last_plan(home, study)
    if plan is None:
        raise RunError(f"{home.study(study).path}: no plan of its last run is there; run the study once more")
    book = StudyBook(plan, home, store)
    delivery = book.deliver(live=False, on_trial=on_trial)
    if not delivery.running:
        report = home.study(study).profile(plan.profile).report
        done = all(home.trial(trial.id).done for trial in plan.trials)
        book.close(finished=done, report=report if delivery.delivered else None, answered=answered)
    return delivery
