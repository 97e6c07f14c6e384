"""What goes into a bundle: the study as it was run, its finished trials, its report.

Trials that are not done are left out: half of one proves nothing, and who goes on runs it anew. The report is made of
what is in the bundle, so that it is never the one of an hour ago. Left out, too, are logs and checkpoints, which hold
paths and are read by nobody else. Critiques are in the
rollouts; the cache of critiques stays at home.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.bundle.errors import BundleError
from capo_bench.bundle.manifest import study_path
from capo_bench.store.home import Home, TrialFolder
from capo_bench.study.identity import shared_models
from evals.checksums import SUMS

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

_LEFT_OUT = {"lock"}


@dataclass(frozen=True)
class BundledFile:
    """A file that goes into a bundle.

    Attributes:
        path: Where it lies in a results folder.
        source: The file; or what it holds, where it is made for the bundle.
        binary: Whether it is a tensor or a picture, in which no text is to be looked for.
    """

    path: str
    source: Path | bytes
    binary: bool = False


def contents(plan: Plan, home: Home, study_text: str, report: Path, *, weights: bool) -> list[BundledFile]:
    """Return the files of a bundle, ordered by path.

    Args:
        plan: The study, as it was run.
        home: The results folder.
        study_text: The study file.
        report: Folder of the report to take.
        weights: Take trained weights and the models that trials start from, or ask, too.

    Raises:
        BundleError: There is a link among the files.
    """
    done = [home.trial(name) for name in dict.fromkeys(trial.id for trial in plan.trials) if home.trial(name).done]
    study = home.study(plan.study)
    profile = study.profile(plan.profile)
    made = profile.path.relative_to(home.path).as_posix()
    items = [
        BundledFile(f"{made}/{profile.study.name}", study_text.encode()),
        BundledFile(f"{made}/{profile.plan.name}", _dumped(plan.as_json())),
        *([BundledFile(study_path(plan.study, study.ledger.name), study.ledger)] if study.ledger.exists() else []),
        *_below(report, f"{made}/{profile.report.name}"),
    ]
    for trial in done:
        items += _trial(trial, weights=weights)
    stages = [stage for trial in done for stage in trial.shared()]
    if weights:
        stages += [home.stage(model.kind, model.key) for trial in plan.trials for model in shared_models(trial.config)]
    for stage in dict.fromkeys(stages):
        items += _stage(stage, stage.relative_to(home.path).as_posix(), weights=weights)
    return sorted(items, key=lambda item: item.path)


def _dumped(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _trial(folder: TrialFolder, *, weights: bool) -> Iterator[BundledFile]:
    files = [folder.config, folder.provenance, folder.stages, folder.metrics, folder.path / SUMS]
    name = f"trials/{folder.path.name}"
    yield from (BundledFile(f"{name}/{path.name}", _plain(path)) for path in files if path.exists())
    yield from _below(folder.evaluation, f"{name}/{folder.evaluation.name}")
    for own in ("training", "completions"):
        yield from _stage(folder.path / own, f"{name}/{own}", weights=weights)


def _stage(folder: Path, name: str, *, weights: bool) -> Iterator[BundledFile]:
    left_out = () if weights else (f"{name}/model/", f"{name}/checkpoints/")
    yield from (item for item in _below(folder, name) if not item.path.startswith(left_out))


def _below(folder: Path, name: str) -> Iterator[BundledFile]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if hidden or path.name in _LEFT_OUT or (path.is_dir() and not path.is_symlink()):
            continue
        yield BundledFile(f"{name}/{inner.as_posix()}", _plain(path), path.suffix in {".safetensors", ".bin"})


def _plain(path: Path) -> Path:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path}: a link, or no plain file; put the file itself in its place")
    return path
