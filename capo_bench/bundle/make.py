"""A bundle of a study, from its results folder."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.analysis.digest import code
from capo_bench.bundle.archive import Secrets, Tell, write_archive
from capo_bench.bundle.contents import BundledFile, study_files, trial_files
from capo_bench.bundle.manifest import BundleError, Manifest
from capo_bench.pages.build import build_report
from capo_bench.pages.write import write_files
from capo_bench.store.home import Home
from capo_bench.store.lock import study_lock
from capo_bench.store.provenance import origin

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


@dataclass(frozen=True)
class BundleRequest:
    """What a bundle is to be of: a study as it was run, its file's text, and what ``--set`` and ``--only`` were given.

    With `weights`, those and the shared models are taken too.
    """

    plan: Plan
    text: str
    sets: Sequence[str] = ()
    only: Sequence[str] = ()
    weights: bool = False


@dataclass(frozen=True)
class Made:
    """A bundle that was written: how many files it holds, and those of them in which there were secrets."""

    manifest: Manifest
    files: int
    blotted: list[str]


def make(wanted: BundleRequest, home: Home, out: Path, *, blot: bool, tell: Tell = lambda done, total: None) -> Made:
    """Write a bundle; with `blot`, ``***`` takes the place of secrets, which are refused otherwise.

    Raises:
        DamagedFileError: A finished trial's file cannot be read.
        BundleError: No trial has finished; files hold secrets, or are links.
        StudyLockedError: The study is being run.
        OSError: A file cannot be read or written, or got shorter meanwhile.
    """
    secrets = Secrets()
    with gathered(wanted, home) as (own, files):
        cleaned = [BundledFile(file.path, secrets.take_out(file)) for file in own]
        manifest = _manifest(wanted, home, cleaned)
        first = [BundledFile(manifest.path, manifest.dump()), *cleaned]
        write_archive(out, chain(first, _count(files, tell)), secrets, blot=blot)
    return Made(manifest, len(first) + len(files), sorted(secrets.sums))


def _count(files: Sequence[BundledFile], tell: Tell) -> Iterator[BundledFile]:
    done, total = 0, sum(file.size for file in files)
    for file in files:
        yield file
        done += file.size
        tell(done, total)


def _manifest(wanted: BundleRequest, home: Home, own: Sequence[BundledFile]) -> Manifest:
    return Manifest(
        study=wanted.plan.study,
        profile=wanted.plan.profile,
        sets=list(wanted.sets),
        only=list(wanted.only),
        origin={**origin(), "code": code()},
        finished=_ids(wanted.plan, home, done=True),
        pending=_ids(wanted.plan, home, done=False),
        sums={file.path: hashlib.sha256(file.read()).hexdigest() for file in own},
    )


@contextmanager
def gathered(wanted: BundleRequest, home: Home) -> Iterator[tuple[list[BundledFile], list[BundledFile]]]:
    """Yield the study's own files and those of its trials; meanwhile nobody can run it. Raises what `make` does."""
    if not _ids(wanted.plan, home, done=True):
        raise BundleError(
            f"nothing to bundle: none of the {len(wanted.plan.trials)} trials of study {wanted.plan.study!r} (profile "
            f"{wanted.plan.profile!r}) has finished under {home.path}; run it, or name another folder with --home"
        )
    with study_lock(home.study(wanted.plan.study).lock), tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch)
        write_files(build_report(wanted.plan, home), report)
        own = study_files(wanted.plan, home, wanted.text, report)
        yield own, trial_files(wanted.plan, home, weights=wanted.weights)


def sizes(files: Sequence[BundledFile]) -> dict[str, tuple[int, int]]:
    """Return the number of files and of bytes by what they are of, largest first."""
    count, size = Counter[str](), Counter[str]()
    for file in files:
        count[_part(file.path)] += 1
        size[_part(file.path)] += file.size
    return {part: (count[part], total) for part, total in size.most_common()}


def _part(path: str) -> str:
    first, kind, *rest = path.split("/")
    if first == "stages":
        return "shared models" if kind not in {"training", "completions"} else "weights" if rest[1] == "model" else kind
    if first == "trials":
        return rest[0] if len(rest) > 1 else "trials' records"
    return "report" if "report" in rest[:-1] else "study"


def _ids(plan: Plan, home: Home, *, done: bool) -> list[str]:
    return [name for name in dict.fromkeys(trial.id for trial in plan.trials) if home.trial(name).done == done]
