"""Work that another trial has done: found by what decides it, and taken over as links to its files.

A stage is known by a key (`capo_bench.study.identity`), and the index names a trial that has done it. What the index
says is checked: a trial that is gone, not whole or another one than it was is as good as none. Files are linked, or
copied where links are not possible, into a scratch folder and put in place from there; the last move is of the one that
says that the stage is whole.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.home import Home, TrialFolder, read_json, write_json
from capo_bench.run.lock import wait_for_lock
from capo_bench.study.identity import generation_key, training_key
from evals.checksums import SUMS, check_folder

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

REUSED = "reused.json"
"""Beside what was taken over: ``{"trial": id}`` of the one that it is from."""

_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES}


@contextmanager
def claimed(home: Home, keys: Sequence[str], stop: Callable[[], bool], waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold stages, so that of the trials that share them one works and the others wait for what it leaves.

    Args:
        home: The results folder.
        keys: Of the stages; held in one order by all, so that no two trials wait for each other.
        stop: Asked while waiting.
        waiting: Called where a stage is held by another trial.

    Yields:
        Whether they are held; False if `stop` said so first.
    """
    with ExitStack() as held:
        locks = (home.stage(key).with_suffix(".lock") for key in sorted(keys))
        yield all(held.enter_context(wait_for_lock(lock, stop, waiting)) for lock in locks)


def training_donor(home: Home, trial: Trial) -> TrialFolder | None:
    """Return another trial with the trained model that this one needs, if there is one."""
    found = _named(home, training_key(trial.identity, trial.seed), training_key)
    return found if found is not None and found.path.name != trial.id and found.model.is_dir() else None


def task_donor(home: Home, trial: Trial, task: str) -> TrialFolder | None:
    """Return another trial with all completions of a task that this one needs, if there is one.

    One of which some failed, and may be asked for again, is none.
    """
    found = _named(home, generation_key(trial.identity, task, trial.seed), _key_of(task))
    return found if found is not None and found.path.name != trial.id and _whole(found.evaluation / task) else None


def donor_gone(home: Home, entry: Path) -> bool:
    """Whether an entry of the index (`Home.stage`) names no trial that still has what it is named for."""
    key = entry.stem
    if (found := _named(home, key, training_key)) is not None:
        return not found.model.is_dir()
    try:
        folder = home.trial(read_json(entry)["trial"])
        tasks = list(read_json(folder.config)["identity"]["generation"]["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return not any(
        _named(home, key, _key_of(task)) is not None and (folder.evaluation / task).is_dir() for task in tasks
    )


def offer_training(home: Home, trial: Trial) -> None:
    """Name a trial as one that has trained, unless another is named."""
    if training_donor(home, trial) is None:
        write_json(home.stage(training_key(trial.identity, trial.seed)), {"trial": trial.id})


def offer_tasks(home: Home, trial: Trial, tasks: Sequence[str]) -> None:
    """Name a trial as one that has the completions of tasks, unless another is named."""
    for task in tasks:
        if task_donor(home, trial, task) is None:
            write_json(home.stage(generation_key(trial.identity, task, trial.seed)), {"trial": trial.id})


def adopt_training(home: Home, trial: Trial) -> bool:
    """Take over all that another trial's training left, if one has trained so; what was begun here is dropped.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    donor, folder = training_donor(home, trial), home.trial(trial.id)
    if donor is None:
        return False
    check_folder(donor.path)
    with _scratch(folder) as scratch:
        left = [donor.steps, donor.rollouts, donor.training, donor.model]
        if not _link_all([path for path in left if path.exists()], scratch):
            return False
        write_json(scratch / REUSED, {"trial": donor.path.name})
        shutil.rmtree(folder.checkpoints, ignore_errors=True)  # first, so that nobody goes on from one with other steps
        shutil.rmtree(folder.evaluation, ignore_errors=True)  # of a model that is no more
        for path in (folder.steps, folder.rollouts, folder.training, folder.reused, folder.model):
            _move(scratch / path.name, path)
    return True


def adopt_tasks(home: Home, trial: Trial, model: str, tasks: Sequence[str]) -> None:
    """Take over the completions of those of the tasks that another trial has, if they are of these weights.

    Equal trainings on an accelerator end with weights that differ a little: completions are not mixed with those of
    others.

    Args:
        home: The results folder.
        trial: Who needs them.
        model: Folder or repository id of the model that is measured.
        tasks: What it still needs.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    from evals.fingerprint import model_fingerprint
    from evals.harness.folder import GENERATIONS, TASK, TIMING, read_task

    weights = cache(lambda: model_fingerprint(Path(model)))
    folder = home.trial(trial.id)
    for task in tasks:
        donor = task_donor(home, trial, task)
        if donor is None:
            continue
        source, told = donor.evaluation / task, read_task(donor.evaluation / task).identity["model"]
        check_folder(source)
        if told.get("adapter", told.get("weights")) in {None, weights()}:
            with _scratch(folder) as scratch:
                left = [source / name for name in (TASK, GENERATIONS, TIMING, SUMS)]
                if _link_all([path for path in left if path.exists()], scratch / task):
                    write_json(scratch / task / REUSED, {"trial": donor.path.name})
                    _move(scratch / task, folder.evaluation / task)


def reused(folder: TrialFolder, tasks: Sequence[str]) -> dict[str, Any]:
    """Return what a trial has from others: ``{"train": id, "generate": {task: id}}``, without what it did itself."""
    found = {task: _source(folder.evaluation / task / REUSED) for task in tasks}
    generate = {task: name for task, name in found.items() if name is not None}
    train = _source(folder.reused)
    return {**({} if train is None else {"train": train}), **({"generate": generate} if generate else {})}


def _named(home: Home, key: str, key_of: Callable[[Mapping[str, Any], int], str]) -> TrialFolder | None:
    """Return the trial that the index names for a key, if it is one of that key."""
    try:
        folder = home.trial(read_json(home.stage(key))["trial"])
        config = read_json(folder.config)
        return folder if key_of(config["identity"], config["seed"]) == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key_of(task: str) -> Callable[[Mapping[str, Any], int], str]:
    return lambda identity, seed: generation_key(identity, task, seed)


def _whole(folder: Path) -> bool:
    from evals.harness.asking import complete
    from evals.harness.identity import EvaluationError

    try:
        return complete(folder)
    except (EvaluationError, OSError, ValueError, KeyError, TypeError):
        return False


def _source(path: Path) -> str | None:
    return str(read_json(path)["trial"]) if path.exists() else None


@contextmanager
def _scratch(folder: TrialFolder) -> Iterator[Path]:
    path = folder.path / ".reused"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _link_all(sources: Sequence[Path], target: Path) -> bool:
    """Link files and folders into a folder; False if one is gone, whose trial is being deleted."""
    target.mkdir(exist_ok=True)
    try:
        for source in sources:
            _link(source, target / source.name)
    except FileNotFoundError:
        return False
    return True


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            _link(path, target / path.name)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())  # what says that the stage is whole must not survive a crash that this does not


def _move(source: Path, target: Path) -> None:
    """Put a file or folder in place of what is there; where there is none, what is there goes."""
    if target.is_dir():
        shutil.rmtree(target)
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    else:
        target.unlink(missing_ok=True)
