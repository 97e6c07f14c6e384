"""A bundle of a study, from its results folder."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.analysis.digest import code
from capo_bench.bundle.archive import Tell, listed, size_of, write_archive
from capo_bench.bundle.contents import BundledFile, contents
from capo_bench.bundle.errors import BundleError
from capo_bench.bundle.manifest import Manifest
from capo_bench.pages.build import build_report
from capo_bench.pages.write import write_files
from capo_bench.store.home import Home
from capo_bench.store.lock import study_lock
from capo_bench.store.provenance import origin

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


@dataclass(frozen=True)
class BundleRequest:
    """What a bundle is to be of.

    Attributes:
        plan: The study, as it was run.
        text: Its file.
        sets: What ``--set`` was given.
        only: What ``--only`` was given.
        weights: Take weights and shared models, too.
    """

    plan: Plan
    text: str
    sets: Sequence[str] = ()
    only: Sequence[str] = ()
    weights: bool = False


@dataclass(frozen=True)
class Made:
    """A bundle that was written.

    Attributes:
        manifest: Its manifest.
        size: Of the archive, in bytes.
        sha256: Of the archive.
    """

    manifest: Manifest
    size: int
    sha256: str


def make(wanted: BundleRequest, home: Home, out: Path, *, blot: bool, tell: Tell = lambda done, total: None) -> Made:
    """Write a bundle.

    Args:
        wanted: Of what.
        home: The results folder.
        out: The archive; replaced if it is there.
        blot: Put ``***`` in the place of secrets; otherwise they are refused.
        tell: Told of the bytes read and packed.

    Raises:
        DamagedFileError: A finished trial's file cannot be read.
        BundleError: No trial has finished; files hold secrets, are links, or change meanwhile.
        StudyLockedError: The study is being run.
        OSError: A file cannot be read or written.
    """
    with gathered(wanted, home) as items:
        whole = 2 * size_of(items)
        kept, lines = listed(items, blot=blot, tell=lambda done, total: tell(done, whole))
        manifest = Manifest(
            study=wanted.plan.study,
            profile=wanted.plan.profile,
            sets=tuple(wanted.sets),
            only=tuple(wanted.only),
            origin={**origin(), "code": code()},
            weights=wanted.weights,
            finished=_ids(wanted.plan, home, done=True),
            owed=_ids(wanted.plan, home, done=False),
            files=tuple(lines),
        )
        digest = write_archive(out, manifest, kept, lambda done, total: tell(whole - total + done, whole))
    return Made(manifest, out.stat().st_size, digest)


@contextmanager
def gathered(wanted: BundleRequest, home: Home) -> Iterator[list[BundledFile]]:
    """Yield the files of a bundle, during which nobody can run the study; raises what `make` does."""
    if not _ids(wanted.plan, home, done=True):
        raise BundleError(
            f"nothing to bundle: none of the {len(wanted.plan.trials)} trials of study {wanted.plan.study!r} (profile "
            f"{wanted.plan.profile!r}) has finished under {home.path}; run it, or name another folder with --home"
        )
    with study_lock(home.study(wanted.plan.study).path / "lock"), tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch)
        write_files(build_report(wanted.plan, home), report)
        yield contents(wanted.plan, home, wanted.text, report, weights=wanted.weights)


def sizes(items: Sequence[BundledFile]) -> dict[str, tuple[int, int]]:
    """Return the number of files and of bytes by what they are of, largest first."""
    files, size = Counter[str](), Counter[str]()
    for item in items:
        files[_part(item.path)] += 1
        size[_part(item.path)] += size_of([item])
    return {part: (files[part], total) for part, total in size.most_common()}


def _part(path: str) -> str:
    first, kind, *rest = path.split("/")
    if first == "stages":
        return "shared models" if kind not in {"training", "completions"} else "weights" if rest[1] == "model" else kind
    if first == "trials":
        return rest[0] if len(rest) > 1 else "trials' records"
    return "report" if "report" in rest[:-1] else "study"


def _ids(plan: Plan, home: Home, *, done: bool) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(trial.id for trial in plan.trials) if home.trial(name).done == done)
