"""Bundle a study from its results folder: the plan of its last run, its finished trials, a new report.

Unfinished trials are left out: they prove nothing, and a later run starts them again. The report is written anew from
the files in the bundle. Logs and checkpoints, which contain local paths, are left out. Critiques are in the rollouts;
the cache of critiques is left out.
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
    """A written bundle: its trials, the unfinished trials, the number of its files.

    `blotted` are the files whose secrets were replaced.
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
    """Write a bundle of a study; its lock is held meanwhile, so that it cannot be run.

    `asked` and `only` are the request and the variants of the plan. With `weights`, trained weights and shared models
    are included. With `blot`, ``***`` replaces secrets; otherwise they are refused. `tell` gets the bytes that are
    written and their total.

    Raises:
        DamagedFileError: A finished trial's file cannot be read.
        BundleError: No trial has finished, or files contain secrets or are links.
        StudyLockedError: The study is being run.
        OSError: A file cannot be read or written, or became shorter meanwhile.
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
    """Write a study's own files (manifest, plan, study file, ledger, new report, checksums); return them by place."""
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
    """Return the files of finished trials and of the stages that they need, by place.

    Without `weights`, trained weights and shared models are left out.

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
