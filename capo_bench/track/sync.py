"""Delivering to the tracking store what runs could not, from what they left in the results folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from capo_bench.home import Home, read_json
from capo_bench.run.ledger import Ledger, fold
from capo_bench.run.lock import locked
from capo_bench.study.plan import Plan, Trial, Variant
from capo_bench.track.store import Store, quiet


@dataclass
class Delivery:
    """What was delivered of one study.

    Attributes:
        study: Its name.
        delivered: Trials that are in the store now and were not, or in another state.
        there: Trials that were there.
        running: The study is being run: its runner writes what is under way.
    """

    study: str
    delivered: int = 0
    there: int = 0
    running: bool = False


def sync(
    home: Home, study: str, store: Store, on_trial: Callable[[int, int], None] = lambda done, of: None
) -> Delivery:
    """Write what of a study's last plan is not in the store: nothing twice, nothing left out.

    Args:
        home: The results folder.
        study: Name of the study.
        store: Where to write.
        on_trial: Told of the trials looked at, and of how many there are.

    Raises:
        RunError: The ledger cannot be read.
        Exception: Whatever the store raises; the message may hold a password.
    """
    quiet()
    from capo_bench.track.book import StudyBook

    folder = home.study(study)
    records = Ledger(folder.ledger).read()
    states = {trial: entry.state for trial, entry in fold(records).trials.items()}
    plan, found = plan_of(records, study, home), Delivery(study, running=locked(folder.path / "lock"))
    book = StudyBook(plan, home, store)
    for number, trial in enumerate(plan.trials, 1):
        state = "done" if home.trial(trial.id).done else states.get(trial.id)
        settled = state == "done" or (state in ("failed", "stopped") and not found.running)
        if state is not None and settled and book.state(trial.id) != state:
            book.end(trial.id, state)
            found.delivered += 1
        else:
            found.there += settled
        on_trial(number, len(plan.trials))
    if folder.report.exists() and found.delivered:
        book.report(folder.report)
    if not found.running:
        book.close(all(home.trial(trial.id).done for trial in plan.trials))
    return found


def plan_of(records: list[dict[str, object]], study: str, home: Home) -> Plan:
    """Return the plan that was last started, as far as tracking needs it, without its study file."""
    started = [record for record in records if record["event"] == "study_started"]
    last = started[-1] if started else {}
    ids = [str(trial) for trial in _listed(last.get("plan"))]
    paths = [home.trial(trial).config for trial in ids]
    trials = [Trial.from_json(read_json(path)) for path in paths if path.exists()]
    swept = dict.fromkeys(str(key) for key in _listed(last.get("swept")))
    variants = {trial.variant: Variant(trial.variant, swept, trial.config) for trial in trials}
    return Plan(
        study=study,
        question=str(last.get("question", "")),
        file="",
        profile=str(last.get("profile", "")),
        baseline="",
        start=None,
        metrics=(),
        variants=tuple(variants.values()),
        trials=tuple(trials),
    )


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
