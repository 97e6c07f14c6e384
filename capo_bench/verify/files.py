"""Whether every file of finished trials, of the models they share and of the ledger has the bytes that were written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, TrialFolder
from capo_bench.store.ledger import Ledger
from capo_bench.study.identity import shared_models
from capo_bench.verify.checks import ABSENT, Check
from evals.checksums import SUMS, file_sum, files_below, listed
from trainers.methods import METHODS

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan, Trial

_UNLISTED = ("trial.log", "lock")
"""What a trial's process printed, and what it held: nothing is read from them."""

_OWN = ("evaluation", "training", "completions")
"""Folders of a trial that have lists of their own."""


def check_study_files(check: Check, plan: Plan, trials: Sequence[Trial], home: Home) -> None:
    """Compare files with the lists of their stages: none is other, missing or beside them; and lines of the ledger.

    In a results folder also what evaluations and measurements of critics left: whose they are is not on record.

    Args:
        check: Receives what was found.
        plan: The study.
        trials: Its finished trials.
        home: The results.
    """
    for folder in dict.fromkeys(folder for trial in trials for folder in _folders(trial, home.trial(trial.id))):
        _check(check, folder, folder.relative_to(home.path).as_posix())
    for model in dict.fromkeys(model for trial in plan.trials for model in shared_models(trial.config)):
        folder = home.stage(model.kind, model.key)
        if folder.is_dir():
            _check(check, folder, folder.relative_to(home.path).as_posix())
    for kind in ("evals", "critics"):
        for path in sorted(home.path.glob(f"{kind}/**/{SUMS}")):
            _check_listed(check, path.parent, path.parent.relative_to(home.path).as_posix())
    ledger = home.study(plan.study).ledger
    try:
        for line in Ledger(ledger).damaged():
            check.differs(line.partition(": ")[0].replace(f"{home.path}/", ""), "another record", "its checksum")
    except RunError as error:
        check.differs(f"studies/{plan.study}/{ledger.name}", str(error), "a ledger")


def _folders(trial: Trial, folder: TrialFolder) -> Iterator[Path]:
    """Yield the folders of a finished trial that have a list of their files."""
    yield folder.path
    if METHODS.get(trial.config.method).train is not None:
        yield folder.trained
    for task in trial.config.evaluation.tasks:
        yield from (folder.completions(task), folder.evaluation / task)


def _check(check: Check, folder: Path, name: str) -> None:
    """Compare a folder's files with its list: it names all of them."""
    sums = _check_listed(check, folder, name)
    for file in files_below(folder):
        path = file.relative_to(folder).as_posix()
        if path not in sums and not path.startswith(_UNLISTED) and path.partition("/")[0] not in _OWN:
            check.differs(f"{name}/{path}", "is there", f"not listed in {SUMS}")


def _check_listed(check: Check, folder: Path, name: str) -> Mapping[str, str]:
    """Compare the files of a folder's list with it, and return it; weights may have been freed."""
    sums: Mapping[str, str] = {}
    with check.reading(f"{name}/{SUMS}"):
        sums = listed(folder)
        if not sums:
            check.differs(f"{name}/{SUMS}", ABSENT, "the checksums of a finished stage")
        for path, value in sums.items():
            file = folder / path
            if path.startswith("model/") and not (folder / "model").exists():
                check.leave("files of weights that are not here")
            else:
                check.equal(f"{name}/{path}: sha256", file_sum(file) if file.is_file() else ABSENT, value)
    return sums
