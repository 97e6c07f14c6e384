"""What the studies of a results folder refer to, by their ledgers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from capo_bench.run.state import holder_of, started_studies
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger


@dataclass(frozen=True)
class Mentioned:
    """What one study refers to: trials of the newest plan of each profile, and those that its ledger ever names.

    `metric` is its primary one, ``task/quantity``; empty where the ledger does not say.
    """

    name: str
    running: bool
    wanted: frozenset[str]
    ever: frozenset[str]
    metric: str


def mentioned(home: Home, running: Collection[str] | None = None) -> list[Mentioned]:
    """Return what each study that has a ledger refers to; `running` are those that run, None asks their locks.

    Raises:
        RunError: A ledger cannot be read.
    """
    studies = []
    for name in started_studies(home):
        folder = home.study(name)
        # First, so that what a run that ends meanwhile wrote is read.
        runs = holder_of(folder) is not None if running is None else name in running
        records = Ledger(folder.ledger).read()
        starts = [record for record in records if record["event"] == "study_started"]
        newest = {record.get("profile"): record["plan"] for record in starts}
        ever = {trial for record in starts for trial in record["plan"]}
        ever |= {record["trial"] for record in records if "trial" in record}
        metric = next(iter(starts[-1].get("metrics") or ()), "") if starts else ""
        studies.append(Mentioned(name, runs, frozenset().union(*newest.values()), frozenset(ever), str(metric)))
    return studies
