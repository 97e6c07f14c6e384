"""A job's files between a node and the store of artifacts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from capo_bench.home import Home
from capo_bench.run import wire
from capo_bench.run.cluster.artifacts import Store
from capo_bench.run.cluster.donors import collect_stages, fetch_donors, offer_stages, seed_donors
from capo_bench.run.executor import Job


class Staging:
    """One job on one node, which works in a home of its own.

    Args:
        url: Of the store.
        job: The job, with the driver's paths.
        home: This node's home.

    Attributes:
        job: The job with this node's paths.
    """

    def __init__(self, url: str, job: Job, home: Path) -> None:
        self._store = Store(url)
        self.job = moved(job, home)
        self._mark = Home(home).trial(job.trial.id).checkpoints / "resume.json"
        self._marked = 0
        self._pushes = ThreadPoolExecutor(1)
        self._push: Future[None] | None = None

    def fetch(self) -> None:
        """Bring here what there is of the job and what it needs.

        Raises:
            StoreError: The store cannot be reached.
        """
        for folder in shared_folders(self.job):
            self._store.pull_whole(folder, self.job.home / folder)
        if self.job.do == "trial":
            folder = trial_folder(self.job)
            self._store.pull(folder, self.job.home / folder)
            fetch_donors(self._store, self.job)
        self._marked = _age(self._mark)

    def changed(self, batch: Iterable[wire.Message]) -> bool:
        """Whether what was heard, or a new checkpoint, makes a push worth its time."""
        before, self._marked = self._marked, _age(self._mark)
        return self._marked != before or any(message["kind"] == "stage" for message in batch)

    def keep(self, *, last: bool = False) -> None:
        """Push the job's files beside its work; the last time, wait for it and push its log too.

        Raises:
            StoreError: This push, or the one before, failed.
        """
        if self._push is not None and (last or self._push.done()):
            push, self._push = self._push, None
            push.result()
        if last:
            self._keep()
            offer_stages(self._store, self.job)
            self._store.push_file(log_name(self.job), self.job.log)
        elif self._push is None:
            self._push = self._pushes.submit(self._keep)

    def close(self) -> None:
        """Leave nothing of a trial here: it may go on elsewhere. Shared models stay for the next one."""
        self._pushes.shutdown(cancel_futures=True)
        if self.job.do == "trial":
            shutil.rmtree(self.job.home / trial_folder(self.job), ignore_errors=True)

    def _keep(self) -> None:
        for folder in [trial_folder(self.job)] if self.job.do == "trial" else shared_folders(self.job):
            if (self.job.home / folder).exists():
                self._store.push(folder, self.job.home / folder)


def seed(url: str, job: Job) -> None:
    """Push from the driver's home what a node needs of it: shared models, a trial that was begun here.

    Raises:
        StoreError: The store cannot be reached or written.
    """
    store = Store(url)
    for folder in [*shared_folders(job), *([trial_folder(job)] if job.do == "trial" else [])]:
        if (job.home / folder).exists() and not store.has(folder):
            store.push(folder, job.home / folder)
    seed_donors(store, job)


def collect(url: str, job: Job, *, done: bool) -> None:
    """Pull to the driver's home what a job left: all of it but checkpoints once it is done, else its log.

    Raises:
        StoreError: The store cannot be reached.
    """
    store = Store(url)
    store.pull_file(log_name(job), job.log)
    if not done:
        return
    if job.do == "trial":
        store.pull(trial_folder(job), job.home / trial_folder(job), without={"checkpoints"})
        collect_stages(store, job)
    else:
        for folder in shared_folders(job):
            store.pull_whole(folder, job.home / folder)


def moved(job: Job, home: Path) -> Job:
    """Return the job with its paths in another home."""
    return replace(job, home=home, log=home / log_name(job), lock=home / job.lock.relative_to(job.home))


def trial_folder(job: Job) -> str:
    """Return the place of a job's trial in a home, and in the store."""
    return Home(job.home).trial(job.trial.id).path.relative_to(job.home).as_posix()


def shared_folders(job: Job) -> list[str]:
    """Return the places of the shared models that a job needs, or makes."""
    from capo_bench.study.identity import shared_models

    home = Home(job.home)
    models = [model for model in shared_models(job.trial.config) if job.do in {"trial", model.kind}]
    return [home.cache(model.kind, model.key).relative_to(job.home).as_posix() for model in models]


def log_name(job: Job) -> str:
    """Return the place of a job's log in a home, and in the store."""
    return job.log.relative_to(job.home).as_posix()


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
