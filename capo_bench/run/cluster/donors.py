"""Trials whose stages a job may take over (`capo_bench.run.reuse`), carried to where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capo_bench.home import Home, read_json
from capo_bench.run.cluster.artifacts import Store
from capo_bench.run.executor import Job


def fetch_donors(store: Store, job: Job) -> None:
    """Bring to the job's home what the index of stages names for it, and the trials that are named.

    Raises:
        StoreError: The store cannot be reached.
    """
    for mark in stage_marks(job):
        store.pull_file(mark, job.home / mark)
    for folder in set(_donors(job)):
        store.pull(folder, job.home / folder, without={"checkpoints"})


def seed_donors(store: Store, job: Job) -> None:
    """Put into the store what the index of the job's home names for it, where the store names nobody.

    Raises:
        StoreError: The store cannot be reached or written.
    """
    for folder in set(_donors(job)):
        if (job.home / folder).exists() and not store.has(folder):
            store.push(folder, job.home / folder)
    for mark in stage_marks(job):
        if not store.has_file(mark):
            store.push_file(mark, job.home / mark)


def offer_stages(store: Store, job: Job) -> None:
    """Name in the store whom the index of the job's home names.

    Raises:
        StoreError: The store cannot be written.
    """
    for mark in stage_marks(job):
        store.push_file(mark, job.home / mark)


def collect_stages(store: Store, job: Job) -> None:
    """Name in the job's home whom the store names.

    Raises:
        StoreError: The store cannot be reached.
    """
    for mark in stage_marks(job):
        store.pull_file(mark, job.home / mark)


def stage_marks(job: Job) -> list[str]:
    """Return the files of the index, by their place in a home, that could name a donor for the job's trial."""
    from capo_bench.study.identity import generation_key, training_key

    trial = job.trial
    if job.do != "trial" or "training" not in trial.identity:  # one that shares no stage with another
        return []
    tasks = trial.identity["generation"]["tasks"]
    keys = [training_key(trial.identity, trial.seed), *(generation_key(trial.identity, at, trial.seed) for at in tasks)]
    return [_place(Home(job.home).stage(key), job) for key in keys]


def _donors(job: Job) -> Iterator[str]:
    for mark in stage_marks(job):
        if (job.home / mark).exists() and (named := read_json(job.home / mark)["trial"]) != job.trial.id:
            yield _place(Home(job.home).trial(named).path, job)


def _place(path: Path, job: Job) -> str:
    return path.relative_to(job.home).as_posix()
