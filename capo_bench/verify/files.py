"""Whether the files of finished trials, of the stages they rest on and of the ledger have the bytes as written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home
from capo_bench.store.ledger import Ledger
from capo_bench.store.walk import FileSum, reached, read_sums
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


def check_sums(check: Check, home: Home, sums: Iterable[FileSum]) -> None:
    """Compare files with the checksums that are listed of them."""
    for file in sums:
        if file.freed:
            check.leave("files of weights that are not here")
        else:
            check.equal(f"{file.path.relative_to(home.path).as_posix()}: sha256", file.value, file.listed)
