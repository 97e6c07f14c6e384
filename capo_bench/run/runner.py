"""Run the pending trials of a plan in parallel worker processes and record their progress in the ledger.

A failed trial is data: it is recorded and the run continues. A trial is done when its metrics file exists, whichever
study wrote it. A run that was interrupted in any way is therefore completed by running it again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from capo_bench.process.interrupt import Interrupts, redirect_closed_streams
from capo_bench.run.devices import count_cores, list_visible_gpus
from capo_bench.run.executor import CHECKPOINT_SECONDS, Attempt, Executor, Job
from capo_bench.run.failures import plan_retry
from capo_bench.run.limits import DiskWatch, StageClock
from capo_bench.run.pool import LocalExecutor
from capo_bench.run.serving import CriticServers
from capo_bench.run.waiting_trials import Need, WaitingTrials
from capo_bench.run.wire import Message
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home
from capo_bench.store.ledger import Event, Ledger, Record
from capo_bench.study.identity import SHARED_TITLES, SharedModel
from capo_bench.study.served import find_pending_critic

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan, Trial

Observer = Callable[[Record], None]

_FIRST = -1
"""Rank of the jobs that make shared models: they start first, because trials wait for them."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Attributes:
        workers: Number of parallel trials; None: see `choose_workers`.
        retries: Maximum number of retries of a job after failures that may be temporary.
        retry_seconds: Wait before the first retry after an unreachable endpoint; five times longer for each further
            retry.
        timeouts: Seconds that a stage may take, by its name; other stages have no limit.
        max_failures: Number of failures that ends the run; None: no limit.
        min_free: The run ends when less than this many bytes are free on the disk.
        grace: Seconds that trials have to save after a signal or a limit; None: no limit.
        checkpoint_seconds: See `Attempt`.
        track: Whether to write to MLflow.
        task: ``"module:function"`` of ``run_trial(trial, home, emit, stop, attempt) -> bool``.
        prepare: ``"module:function"`` of ``ensure_shared(kind, trial, home, emit)``.
        executor: Kind of executor that runs the jobs.
        address: Address of the Ray cluster; None: a Ray instance on this machine, started for the run.
    """

    workers: int | None = None
    retries: int = 2
    retry_seconds: float = 5.0
    timeouts: Mapping[str, float] = field(default_factory=dict)
    max_failures: int | None = 10
    min_free: int = 2**30
    grace: float | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    track: bool = True
    task: str = "capo_bench.run.stages:run_trial"
    prepare: str = "capo_bench.run.shared_models:ensure_shared"
    executor: Literal["local", "ray"] = "local"
    address: str | None = None


def list_pending_trials(trials: Iterable[Trial], home: Home) -> list[Trial]:
    """Return the trials that are not done, each id once, the first seeds of all variants before the second ones.

    With this order an interrupted run still allows a comparison: it has some seeds of all variants rather than all
    seeds of some variants.
    """
    seen: Counter[str] = Counter()
    ranked = []
    for trial in trials:
        ranked.append((seen[trial.variant], trial))
        seen[trial.variant] += 1
    ordered = {trial.id: trial for _, trial in sorted(ranked, key=lambda pair: pair[0])}
    return [trial for trial in ordered.values() if not home.trial(trial.id).done]


def choose_workers(trials: Iterable[Trial], cores: int, gpus: int = 0) -> int:
    """Return the default number of parallel trials: one per core, or as many of the smallest trials as fit on the GPUs.

    The executor makes sure that trials that run in parallel fit on the GPUs together.
    """
    needs = [need for trial in trials if (need := _count_gpus(trial))]
    return max(1, gpus // min(needs)) if needs else cores


def count_gpus_of_trials(trials: Iterable[Trial], gpus: Sequence[str] | None, served: int = 0) -> dict[str, int]:
    """Return the number of GPUs of each trial, by its id; 0 for all trials if the machine has no GPUs.

    Args:
        trials: The trials.
        gpus: GPUs of this machine; None: trials run on a cluster, which checks itself whether it has enough GPUs.
        served: How many of `gpus` are reserved for critic servers.

    Raises:
        RunError: A trial needs more GPUs than remain.
    """
    needs = {trial.id: _count_gpus(trial) for trial in trials}
    if gpus is None:
        return needs
    if not gpus:
        return dict.fromkeys(needs, 0)
    for trial in trials:
        if needs[trial.id] > len(gpus) - served:
            beside = f", {served} of them for critic.serve" if served else ""
            raise RunError(
                f"backbone {trial.config.backbone!r} trains on {needs[trial.id]} GPUs and {len(gpus)} are visible "
                f"({', '.join(gpus)}){beside}; set its `processes` lower, or run on a machine or cluster with more"
            )
    return needs


def _count_gpus(trial: Trial) -> int:
    from trainers.backbones import BACKBONES

    return BACKBONES.load(trial.config.backbone).gpus


class Runner:
    """One run of the pending trials of a plan.

    Args:
        plan: The plan to run.
        home: The results folder.
        options: Options of the run.
        observers: Called in this process with every ledger record and with live events: ``{"event": "step" | "stage" |
            "workers" | "preparing" | "prepared" | "critic_server" | "tick" | "stopping", "trial": id, …}``.

    Attributes:
        limit: Why the run stopped by itself, as a sentence; empty if it did not.
    """

    def __init__(self, plan: Plan, home: Home, options: RunOptions, observers: Iterable[Observer]) -> None:
        self.plan, self.home, self.options = plan, home, options
        self._folder = home.study(plan.study)
        self._ledger = Ledger(self._folder.ledger)
        self._observers = list(observers)
        self._since: dict[str, float] = {}
        self._running: dict[str, Job] = {}
        self._clock = StageClock(options.timeouts)
        self._disk = DiskWatch(home.path, options.min_free)
        self._failures = 0
        self._stop_asked: float | None = None
        self.limit = ""

    def run(self, pending: list[Trial], interrupts: Interrupts) -> None:
        """Run `pending` until all of these trials have ended or the run is stopped.

        Raises:
            RunError: The ledger cannot be written, no worker can be started, or a critic cannot be served.
        """
        if not pending:
            return
        self._waiting = WaitingTrials(pending, self.home)
        self._critics = list(
            dict.fromkeys(critic for trial in pending if (critic := find_pending_critic(trial, self.home)))
        )
        with (
            CriticServers(self.home, self._folder.path) as self._servers,
            self._open_executor(pending, interrupts, list_visible_gpus()) as pool,
        ):
            self._begin(pool, pending)
            for job, message in pool.events(lambda: self._waiting.for_servers):
                self._look_after_critics(pool)
                self._hear(pool, job, message)
                self._submit_ready(pool)
                self._watch(pool, message)

    def _open_executor(self, pending: list[Trial], interrupts: Interrupts, gpus: Sequence[str]) -> Executor:
        cores, log = count_cores(), self._folder.path / "workers.log"
        left = len(gpus) - sum(critic.serve.gpus for critic in self._critics)
        wanted = self.options.workers or choose_workers(pending, cores, left)
        count = min(wanted, max(len(pending), len(self._waiting.missing)))
        self.notify({"event": "workers", "count": count})
        threads = max(1, cores // count)
        if self.options.executor == "ray":
            from capo_bench.run.cluster.executor import RayExecutor

            return RayExecutor(self.options.workers, threads, log, interrupts, self.options.address)
        return LocalExecutor(count, threads, log, interrupts, gpus or None)

    def _begin(self, pool: Executor, pending: list[Trial]) -> None:
        self._servers.open(pool.hold(self._critics))
        gpus = list_visible_gpus() if self.options.executor == "local" else None
        needs = count_gpus_of_trials(pending, gpus, sum(critic.serve.gpus for critic in self._critics))
        self._jobs = {
            trial.id: self._make_trial_job(trial, needs[trial.id], rank) for rank, trial in enumerate(pending)
        }
        for model, trials in self._waiting.missing.items():
            pool.submit(self._make_model_job(model, trials[0]))
        self._look_after_critics(pool)
        self._submit_ready(pool)

    def _hear(self, pool: Executor, job: Job | None, message: Message) -> None:
        if job is None:
            self.notify({"event": message["kind"]})
            return
        self._follow(job, message)
        if job.do != "trial":
            self._hear_model(pool, job, message)
        elif message["kind"] == "start":
            self._since[job.trial.id] = time.monotonic()
            self.record("trial_started", **_label(job.trial), log=str(job.log))
        elif message["kind"] == "end":
            self._end_trial(pool, job, message)
        else:
            self.notify({**message, "event": message["kind"], "trial": job.trial.id})

    def _look_after_critics(self, pool: Executor) -> None:
        """Start the critic servers that can start, and handle changes in the state of all servers."""
        for server, news in self._servers.look():
            self.notify({"event": "critic_server", "critic": server.critic.model, "state": server.state, "news": news})
            if server.state == "ready":
                self._waiting.made(server.critic)
            elif server.state == "lost":
                self._lose(pool, server.critic, server.error, server.log)

    def _submit_ready(self, pool: Executor) -> None:
        for trial in self._waiting.ready():
            pool.submit(self._jobs[trial.id])

    def _lose(self, pool: Executor, need: Need, error: str, log: Path) -> None:
        for trial in self._waiting.lost(need):
            self.record("trial_failed", **_label(trial), error=error, log=str(log))
        self._count_failure(pool)

    def record(self, event: Event, **fields: object) -> None:
        """Write an event to the ledger and tell the observers."""
        self.notify(self._ledger.append(event, **fields))

    def notify(self, event: Record) -> None:
        """Tell the observers about an event.

        An observer that cannot write to its terminal does not end the run; later output to that terminal is discarded.
        """
        for observer in self._observers:
            try:
                observer(event)
            except OSError:
                redirect_closed_streams()

    def _make_trial_job(self, trial: Trial, gpus: int, rank: int) -> Job:
        folder = self.home.trial(trial.id)
        lock, keep = folder.path / "lock", self.home.keep_critiques
        attempt = Attempt(checkpoint_seconds=self.options.checkpoint_seconds)
        server = self._servers.of(trial)
        url = server.url if server else ""
        taken = self._servers.memory_taken
        return Job(
            "trial", self.options.task, trial, self.home.path, folder.log, lock, keep, gpus, attempt, rank, url, taken
        )

    def _make_model_job(self, model: SharedModel, trial: Trial) -> Job:
        lock, log = self.home.stage_lock(model.kind, model.key), self._folder.path / f"{model.kind}.log"
        return Job(model.kind, self.options.prepare, trial, self.home.path, log, lock, rank=_FIRST)

    def _hear_model(self, pool: Executor, job: Job, message: Message) -> None:
        """Handle a message of a job that makes a shared model; if it fails for good, trials that need it fail."""
        if message["kind"] != "end":
            self.notify({**message, "event": message["kind"]})
            return
        model = self._waiting.model(job)
        title = SHARED_TITLES[model.kind]
        self.notify({"event": "prepared", "model": title})
        if message["status"] == "done":
            self._waiting.made(model)
        elif message["status"] == "failed" and not (self._is_cut_short(message) or self._retry(pool, job, message)):
            self._lose(pool, model, f"{title} failed: {message['error']}", job.log)

    def _follow(self, job: Job, message: Message) -> None:
        """Update the running jobs and the time of their stages."""
        key = f"{job.do} {job.trial.id}"
        if message["kind"] == "start":
            self._running[key] = job
        elif message["kind"] == "stage":
            self._clock.enter(key, message["stage"])
        elif message["kind"] == "end":
            self._running.pop(key, None)
            self._clock.leave(key)

    def _is_cut_short(self, end: Message) -> bool:
        """Return whether a stop prevented the job from saving.

        Either its grace period ended, or the signal that stopped the run also ended the job's processes or its critic.
        """
        met = self._stop_asked is not None and end.get("cause") in {"lost", "endpoint"}
        return end.get("cause") == "grace" or met

    def _watch(self, pool: Executor, message: Message) -> None:
        for key, error in self._clock.overdue().items():
            pool.kill(self._running[key], error, "timeout")
            self._clock.leave(key)
        if trouble := self._disk.trouble():
            self._stop(pool, trouble)
        if message["kind"] == "stopping":
            self._stop_asked = self._stop_asked or time.monotonic()
        late = self._stop_asked and self.options.grace is not None
        if late and time.monotonic() - (self._stop_asked or 0) > (self.options.grace or 0):
            for job in self._running.values():
                pool.kill(job, f"it had not saved {self.options.grace:g} s after it was asked to", "grace")

    def _end_trial(self, pool: Executor, job: Job, message: Message) -> None:
        seconds = round(time.monotonic() - self._since[job.trial.id], 3)
        ended = {**_label(job.trial), "seconds": seconds}
        message = self._explain(job, message)
        if message["status"] == "done":
            self.record("trial_done", **ended)
        elif message["status"] == "stopped" or self._is_cut_short(message):
            self.record("trial_stopped", **ended)
        elif not (self._wait_for_critic(job, message) or self._retry(pool, job, message)):
            self.record("trial_failed", **ended, error=message["error"], log=str(job.log))
            self._count_failure(pool)
            if message.get("cause") == "disk":
                self._stop(pool, message["error"])

    def _explain(self, job: Job, message: Message) -> Message:
        """Return a trial's end message, with the server's error if the trial failed because that server is lost."""
        server = self._servers.of(job.trial)
        if server is None or server.state != "lost" or message.get("cause") != "endpoint":
            return message
        return {**message, "error": server.error, "cause": "other"}

    def _wait_for_critic(self, job: Job, message: Message) -> bool:
        """Queue a trial again if its critic's server died during the attempt; this does not count as a retry.

        Returns:
            Whether the trial was queued again.
        """
        server = self._servers.of(job.trial)
        if server is None or message.get("cause") != "endpoint":
            return False
        if server.state == "ready" and server.died < self._since[job.trial.id]:
            return False
        self._jobs[job.trial.id] = job
        self._waiting.wait(job.trial, [] if server.state == "ready" else [server.critic])
        self._record_retry(job, message, delay=0.0)
        return True

    def _record_retry(self, job: Job, message: Message, delay: float) -> None:
        failure = {"attempt": job.attempt.number, "error": message["error"], "cause": message["cause"]}
        self.record("trial_retried", **_label(job.trial), **failure, delay=round(delay, 1), log=str(job.log))

    def _retry(self, pool: Executor, job: Job, message: Message) -> bool:
        """Submit a job again if its failure may be temporary; return whether it was submitted."""
        following = None if self._stop_asked else plan_retry(job, message, self.options)
        if following is None:
            return False
        after, delay = following
        if job.do == "trial":
            self._record_retry(after, message, delay)
        pool.submit(after, delay)
        return True

    def _count_failure(self, pool: Executor) -> None:
        self._failures += 1
        if self._failures == self.options.max_failures:
            count = "1 failure" if self._failures == 1 else f"{self._failures} failures"
            self._stop(pool, f"stopped after {count} (--max-failures; --keep-going goes on whatever fails)")

    def _stop(self, pool: Executor, why: str) -> None:
        if not self.limit:
            self.limit = why
            self._stop_asked = self._stop_asked or time.monotonic()
            pool.stop()


def _label(trial: Trial) -> dict[str, Any]:
    return {"trial": trial.id, "variant": trial.variant, "seed": trial.seed}
