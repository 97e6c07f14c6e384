"""Store stages under the hash of their inputs: of the trials that share a stage, one computes it.

A trial works in its own folder. A complete stage is moved under its key (`Home.stage`) at once and never changes again;
the trial's `TrialFolder.stages` lists the key. A stage is found by its key alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from capo_bench.store.home import Home, StageKind, TrialFolder, write_json
from capo_bench.store.lock import wait_for_lock
from evals.checksums import check_folder, list_files_below, seal
from evals.harness.folder import read_task


@contextmanager
def claim_stages(
    home: Home, keys: Mapping[str, str], stop: Callable[[], bool], waiting: Callable[[], None]
) -> Iterator[bool]:
    """Lock stages, so that one of the trials that share them works and the others wait for its result.

    All trials lock them in the same order, so that no two wait for each other. `keys` are by the stage's place in a
    trial's folder. Calls `waiting` if another trial holds a stage; yields False if `stop` returned True first.
    """
    locks = sorted(home.stage_lock(find_kind(place), key) for place, key in keys.items())
    with ExitStack() as held:
        yield all(held.enter_context(wait_for_lock(lock, stop, waiting)) for lock in locks)


def find_kind(place: str) -> StageKind:
    """Return the kind of the stage at a place in a trial's folder."""
    return "training" if place == "training" else "completions"


def take_trained(home: Home, folder: TrialFolder, key: str) -> bool:
    """Return whether a trained model is stored under a key; the trial then uses it and deletes its own training.

    Raises:
        ChangedFileError: Its bytes differ from its checksums.
    """
    stage = home.stage("training", key)
    if not (stage / "model").is_dir():
        _unlist(folder, "training")
        return False
    if folder.keys().get("training") != key:
        check_folder(stage)
        drop_answers(folder)
        shutil.rmtree(folder.path / "training", ignore_errors=True)
        write_json(folder.stages, {"training": key})
    return True


def take_answered(home: Home, folder: TrialFolder, place: str, key: str, weights: Callable[[], str | None]) -> bool:
    """Return whether completions of a task by a model with these weights are stored under a key; the trial uses them.

    Equal trainings on an accelerator result in slightly different weights: their completions are not mixed.

    Raises:
        ChangedFileError: Their bytes differ from their checksums.
    """
    stage = home.stage("completions", key)
    _unlist(folder, place)
    if not stage.is_dir():
        return False
    check_folder(stage)
    model = read_task(stage).identity["model"]
    if model.get("adapter", model.get("weights")) not in {None, weights()}:
        return False
    shutil.rmtree(folder.path / place, ignore_errors=True)
    write_json(folder.stages, {**folder.keys(), place: key})
    return True


def keep(home: Home, folder: TrialFolder, place: str, key: str) -> None:
    """Write the checksums of a complete stage, and move it under its key unless a stage is stored there."""
    own, stage = folder.path / place, home.stage(find_kind(place), key)
    seal(own, {path.relative_to(own).parts[0] for path in list_files_below(own)})
    if not stage.exists():
        stage.parent.mkdir(parents=True, exist_ok=True)
        own.rename(stage)
        write_json(folder.stages, {**folder.keys(), place: key})


def drop_answers(folder: TrialFolder) -> None:
    """Delete the completions of a model that no longer exists, and their scores."""
    for path in (folder.evaluation, folder.path / "completions"):
        shutil.rmtree(path, ignore_errors=True)
    if "training" in (keys := folder.keys()):
        write_json(folder.stages, {"training": keys["training"]})
    else:
        folder.stages.unlink(missing_ok=True)


def _unlist(folder: TrialFolder, place: str) -> None:
    """Remove a stage that no longer exists from a trial's list."""
    if place in (keys := folder.keys()):
        write_json(folder.stages, {other: key for other, key in keys.items() if other != place})
