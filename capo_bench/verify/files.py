"""Whether the files of finished trials, of the stages they rest on and of the ledger have the bytes as written."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, read_json
from capo_bench.store.ledger import Ledger
from capo_bench.store.walk import ABSENT, FileSum, reached, read_sums
from capo_bench.track.names import FINAL, mlflow_metrics, read_final
from capo_bench.verify.checks import Check

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


def check_study_files(check: Check, plan: Plan, home: Home) -> None:
    """Compare the files that a study reaches with their lists of checksums, and lines of its ledger with theirs.

    In a results folder also what evaluations and measurements of critics left: whose they are is not on record.
    """
    for folder in reached(home, {trial.id: trial.identity for trial in plan.trials}):
        check_sums(check, home, read_sums(folder))
    for kind in ("evals", "critics"):
        check_sums(check, home, read_sums(home.path / kind, whole=False))
    ledger = home.study(plan.study).ledger
    try:
        for line in Ledger(ledger).damaged():
            check.differs(line.partition(": ")[0].replace(f"{home.path}/", ""), "another record", "its checksum")
    except RunError as error:
        check.differs(f"studies/{plan.study}/{ledger.name}", str(error), "a ledger")


def check_tracked(check: Check, home: Home, trials: Collection[str]) -> None:
    """Compare the final numbers of trials in the MLflow store of a results folder with those of the trials."""
    try:
        recorded = [row for row in read_final(home) if row[0] in trials]
    except sqlite3.Error as error:
        check.leave(f"the final numbers in {home.tracking.name}, which cannot be read ({error})")
        return
    metrics = {
        trial: mlflow_metrics(read_json(home.trial(trial).metrics)["metrics"], FINAL) for trial, _, _ in recorded
    }
    for trial, name, value in recorded:
        check.equal(f"{home.tracking.name}: {trial} {name}", value, metrics[trial].get(name, ABSENT))


def check_sums(check: Check, home: Home, sums: Iterable[FileSum]) -> None:
    """Compare files with the checksums that are listed of them."""
    for file in sums:
        if file.freed:
            check.leave("files of weights that are not here")
        else:
            check.equal(f"{file.path.relative_to(home.path).as_posix()}: sha256", file.value, file.listed)
