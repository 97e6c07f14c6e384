"""Whether every file of finished trials, of the models they share and of the ledger has the bytes that were written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.home import Home, TrialFolder
from capo_bench.run.errors import RunError
from capo_bench.run.ledger import Ledger
from capo_bench.study.identity import shared_models
from capo_bench.verify.checks import ABSENT, Check
from evals.checksums import SUMS, file_sum, files_below, listed

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan, Trial

_UNLISTED = ("trial.log", "lock")
"""What a trial's process printed, and what it held: nothing is read from them."""


def check_trial_files(check: Check, trial: Trial, folder: TrialFolder) -> None:
    """Compare a finished trial's files with the lists of its stages: none is other, missing or beside them."""
    name = f"trials/{trial.id}"
    _check(check, folder.path, name, apart=(folder.evaluation.name, folder.model.name))
    for task in trial.config.evaluation.tasks:
        _check(check, folder.evaluation / task, f"{name}/evaluation/{task}")


def check_study_files(check: Check, plan: Plan, home: Home) -> None:
    """Compare the models that trials share with their lists, and the lines of the ledger with their checksums."""
    shared = dict.fromkeys((model.kind, model.key) for trial in plan.trials for model in shared_models(trial.config))
    for kind, key in shared:
        if home.cache(kind, key).is_dir():
            _check(check, home.cache(kind, key), f"cache/{kind}/{key}")
    ledger = home.study(plan.study).ledger
    try:
        for line in Ledger(ledger).damaged():
            check.differs(line.partition(": ")[0].replace(f"{home.path}/", ""), "another record", "its checksum")
    except RunError as error:
        check.differs(f"studies/{plan.study}/{ledger.name}", str(error), "a ledger")


def _check(check: Check, folder: Path, name: str, apart: tuple[str, ...] = ()) -> None:
    """Compare a folder's files with its list; those of `apart` have lists of their own, or may have been freed."""
    with check.reading(f"{name}/{SUMS}"):
        sums = listed(folder)
        if not sums:
            check.differs(f"{name}/{SUMS}", ABSENT, "the checksums of a finished stage")
        for path, value in sums.items():
            file, first = folder / path, path.partition("/")[0]
            if first in apart and not (folder / first).exists():
                check.leave("files of weights that are not here")
            else:
                check.equal(f"{name}/{path}: sha256", file_sum(file) if file.is_file() else ABSENT, value)
        for file in files_below(folder):
            path = file.relative_to(folder).as_posix()
            if path not in sums and not path.startswith(_UNLISTED) and path.partition("/")[0] not in apart:
                check.differs(f"{name}/{path}", "is there", f"not listed in {SUMS}")
