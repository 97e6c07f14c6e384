"""A bundle of a study, from its results folder: the study as it was run, its finished trials, its report.

Trials that are not done are left out: half of one proves nothing, and who goes on runs it anew. The report is made of
what is in the bundle, so that it is never the one of an hour ago. Left out, too, are logs and checkpoints, which hold
paths and are read by nobody else. Critiques are in the rollouts; the cache of critiques stays at home.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.analysis.digest import hash_code
from capo_bench.bundle.archive import Secrets, write_archive
from capo_bench.bundle.manifest import NAME, BundleError, Manifest
from capo_bench.pages.report import build_report, write_report
from capo_bench.store.home import Home, write_json
from capo_bench.store.lock import hold_lock
from capo_bench.store.provenance import describe_environment, find_version
from capo_bench.store.walk import UNLISTED, list_reached
from evals.checksums import SUMS, seal
from evals.files import write_atomic

if TYPE_CHECKING:
    from capo_bench.study.last_plan import RunRequest
    from capo_bench.study.plan import Plan

_CHECKPOINTS = re.compile(r"(stages/training/\w+|trials/\w+/training)/checkpoints/")
_WEIGHTS = re.compile(r"stages/(cold_start|critic|prm)/|(stages/training/\w+|trials/\w+/training)/(checkpoints|model)/")


@dataclass(frozen=True)
class Made:
    """A bundle that was written: trials in it, and those that had not finished, and how many files it holds.

    `blotted` are those in which there were secrets.
    """

    finished: list[str]
    pending: list[str]
    files: int
    blotted: list[str]


def make(  # noqa: PLR0913 - what is bundled, and how
    plan: Plan,
    home: Home,
    out: Path,
    asked: RunRequest,
    *,
    only: Sequence[str] = (),
    weights: bool = False,
    blot: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Made:
    """Write a bundle of a study as it was run; meanwhile nobody can run it.

    `asked` and `only` are what the plan was made of. With `weights`, those and the shared models are taken too. With
    `blot`, ``***`` takes the place of secrets, which are refused otherwise. `tell` is told bytes done, and of how many.

    Raises:
        DamagedFileError: A finished trial's file cannot be read.
        BundleError: No trial has finished; files hold secrets, or are links.
        StudyLockedError: The study is being run.
        OSError: A file cannot be read or written, or got shorter meanwhile.
    """
    done = {trial.id: home.trial(trial.id).done for trial in plan.trials}
    if not any(done.values()):
        raise BundleError(
            f"nothing to bundle: none of the {len(plan.trials)} trials of study {plan.study!r} (profile "
            f"{plan.profile!r}) has finished under {home.path}; run it, or name another folder with --home"
        )
    secrets = Secrets()
    with hold_lock(home.study(plan.study).lock), tempfile.TemporaryDirectory() as scratch:
        files = {
            **_write_own(plan, home, asked, only, Home(Path(scratch))),
            **_list_trial_files(plan, home, weights=weights),
        }
        # The manifest first, and lists of checksums last: secrets that are taken out change them.
        manifest = f"studies/{plan.study}/{NAME}"
        places = sorted(files, key=lambda place: (place != manifest, place.endswith(SUMS), place))
        write_archive(out, _count({place: files[place] for place in places}, tell), secrets, blot=blot)
    finished, pending = ([trial for trial in done if done[trial] == state] for state in (True, False))
    return Made(finished, pending, len(files), sorted(secrets.sums))


def _write_own(plan: Plan, home: Home, asked: RunRequest, only: Sequence[str], scratch: Home) -> dict[str, Path]:
    """Write a study's own files: the manifest, those of the plan, a new report, checksums; return them by place."""
    study, profile = scratch.study(plan.study), scratch.study(plan.study).profile(plan.profile)
    manifest = Manifest(
        study=plan.study,
        profile=plan.profile,
        sets=list(asked.sets),
        only=list(only),
        origin={"version": find_version("capo-bench"), **describe_environment()["git"], "code": hash_code()},
    )
    write_atomic(scratch.path / manifest.path, manifest.dump())
    write_report(build_report(plan, home), profile.report)
    write_json(profile.plan, plan.as_json())
    write_atomic(profile.study, asked.text)
    if home.study(plan.study).ledger.exists():
        shutil.copyfile(home.study(plan.study).ledger, study.ledger)
    seal(study.path, [path.name for path in study.path.iterdir()])
    return dict(_list_below(study.path, scratch))


def _list_trial_files(plan: Plan, home: Home, *, weights: bool) -> dict[str, Path]:
    """Return the files of finished trials and of the stages that they rest on, by place.

    Without `weights`, trained ones and the models that trials share are left out.

    Raises:
        BundleError: There is a link among the files.
    """
    folders = list_reached(home, {trial.id: trial.identity for trial in plan.trials})
    left_out = _CHECKPOINTS if weights else _WEIGHTS
    return {place: path for folder in folders for place, path in _list_below(folder, home) if not left_out.match(place)}


def _list_below(folder: Path, home: Home) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if hidden or inner.as_posix().startswith(UNLISTED) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path}: a link, or no plain file; put the file itself in its place")
        yield path.relative_to(home.path).as_posix(), path


def _count(files: Mapping[str, Path], tell: Callable[[int, int], None]) -> Iterator[tuple[str, Path]]:
    sizes = {place: path.stat().st_size for place, path in files.items()}
    done, total = 0, sum(sizes.values())
    for place, path in files.items():
        yield place, path
        done += sizes[place]
        tell(done, total)
