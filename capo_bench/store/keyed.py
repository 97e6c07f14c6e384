"""What a stage left, kept under the hash of all that decides it: of trials that share a stage one does it.

A trial works in its own folder. What is whole is moved under its key (`Home.stage`) in one go, and is not written into
again; the trial's `TrialFolder.stages` lists the key. A stage is found by its key alone, whoever did it.
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
    """Hold stages, so that of the trials that share them one works and the others wait for what it leaves.

    All hold them in one order, so that no two trials wait for each other. `keys` are by the stage's place in a trial's
    folder. Calls `waiting` where another trial holds a stage; yields False if `stop` became true first.
    """
    locks = sorted(home.stage_lock(find_kind(place), key) for place, key in keys.items())
    with ExitStack() as held:
        yield all(held.enter_context(wait_for_lock(lock, stop, waiting)) for lock in locks)


def find_kind(place: str) -> StageKind:
    """Return of which kind the stage at a place of a trial's folder is."""
    return "training" if place == "training" else "completions"


def take_trained(home: Home, folder: TrialFolder, key: str) -> bool:
    """Whether a trained model stands under a key; the trial has it then, and drops what it had begun itself.

    Raises:
        ChangedFileError: Bytes of it are not those that were written.
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
    """Whether all completions of a task stand under a key, given by a model of these weights; the trial has them then.

    Equal trainings on an accelerator end with weights that differ a little: their completions are not mixed.

    Raises:
        ChangedFileError: Bytes of them are not those that were written.
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
    """List the files of a stage that is whole, and move it under its key, unless something stands there."""
    own, stage = folder.path / place, home.stage(find_kind(place), key)
    seal(own, {path.relative_to(own).parts[0] for path in list_files_below(own)})
    if not stage.exists():
        stage.parent.mkdir(parents=True, exist_ok=True)
        own.rename(stage)
        write_json(folder.stages, {**folder.keys(), place: key})


def drop_answers(folder: TrialFolder) -> None:
    """Delete what a model answered that is no more, and its scores."""
    for path in (folder.evaluation, folder.path / "completions"):
        shutil.rmtree(path, ignore_errors=True)
    if "training" in (keys := folder.keys()):
        write_json(folder.stages, {"training": keys["training"]})
    else:
        folder.stages.unlink(missing_ok=True)


def _unlist(folder: TrialFolder, place: str) -> None:
    """Take a stage off a trial's list that is no more."""
    if place in (keys := folder.keys()):
        write_json(folder.stages, {other: key for other, key in keys.items() if other != place})
