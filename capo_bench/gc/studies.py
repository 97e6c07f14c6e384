"""What the studies of a results folder refer to, by their ledgers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from capo_bench.run.state import holder_of, started_studies
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger, Record, StudyState, fold


@dataclass(frozen=True)
class Mentioned:
    """What one study refers to.

    Attributes:
        name: The study.
        running: Whether a run of it goes on.
        wanted: Trials of the newest plan of each of its profiles.
        ever: Trials that its ledger names anywhere.
        state: Its ledger, folded.
        metric: Its primary metric, ``task/quantity``; empty where the ledger does not say.
    """

    name: str
    running: bool
    wanted: frozenset[str]
    ever: frozenset[str]
    state: StudyState
    metric: str


def mentioned(home: Home, running: Collection[str] | None = None) -> list[Mentioned]:
    """Return what each study that has a ledger refers to.

    Args:
        home: The results folder.
        running: Studies of which a run goes on; None: their locks are asked.

    Raises:
        RunError: A ledger cannot be read.
    """
    return [_of(home, name, running) for name in started_studies(home)]


def _of(home: Home, name: str, running: Collection[str] | None) -> Mentioned:
    folder = home.study(name)
    # First, so that what a run that ends meanwhile wrote is read.
    runs = holder_of(folder) is not None if running is None else name in running
    records = Ledger(folder.ledger).read()
    newest = {str(record.get("profile")): record for record in _starts(records)}
    wanted = _union(record["plan"] for record in newest.values())
    planned = _union(record["plan"] for record in _starts(records))
    told = {str(record["trial"]) for record in records if "trial" in record}
    last: Record = next(reversed(newest.values()), {})
    metric = str(next(iter(last.get("metrics") or []), ""))
    return Mentioned(name, runs, wanted, planned | told, fold(records), metric)


def _starts(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record["event"] == "study_started"]


def _union(plans: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset(str(trial) for plan in plans for trial in plan)
