"""Causes of failed jobs, and the decision whether a job is retried."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from capo_bench.run.executor import Job
    from capo_bench.run.runner import RunOptions
    from capo_bench.run.wire import Message
    from trainers.config import TrialConfig

Cause = Literal["lost", "memory", "endpoint", "disk", "timeout", "other"]
"""Lost process or machine; out of memory; unreachable server; full disk; stage over its time limit; anything else."""

_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_CONNECTION = {"APIConnectionError", "APITimeoutError", "ConnectError", "ConnectTimeout", "MaxRetryError"}
_FULL = {errno.ENOSPC, errno.EDQUOT}


def find_cause(error: BaseException) -> Cause:
    """Return the cause of an error; the errors that it was raised from are examined too."""
    for each in _walk_chain(error):
        cause: Cause | None = getattr(each, "cause", None)  # set where the error was raised, in another process
        if cause:
            return cause
        # Types are compared by name, because the packages that define them are not imported here.
        names = {kind.__name__ for kind in type(each).__mro__}
        message = str(each).lower()
        if names & {"MemoryError", "OutOfMemoryError"} or any(text in message for text in _MEMORY):
            return "memory"
        if isinstance(each, OSError) and each.errno in _FULL:
            return "disk"
        if isinstance(each, ConnectionError) or names & _CONNECTION or getattr(each, "unreachable", False):
            return "endpoint"
    return "other"


def advise(cause: Cause, stage: str, config: TrialConfig, micro_batch: int | None = None) -> str:
    """Return advice on the setting to change after memory or disk ran out; empty for other causes."""
    if cause == "disk":
        return "the disk is full: free space, then run again; finished trials are kept"
    if cause != "memory":
        return ""
    rollouts = count_rollouts_a_process(config)
    now = micro_batch or find_micro_batch(config) or rollouts
    if stage == "train":
        smaller = halve(rollouts, now)
        way_out = f"; set it to {smaller} or less" if smaller else ""
        return (
            f"out of memory while training: train.micro_batch is {now} of {rollouts} rollouts{way_out}, "
            "or --workers lower"
        )
    size = config.evaluation.batch_size
    return f"out of memory in stage {stage!r}: evaluation.batch_size is {size}; set a smaller one, or --workers lower"


GROWTH = 5.0
"""Factor by which the wait grows with each retry of an unreachable endpoint."""


def plan_retry(job: Job, end: Message, options: RunOptions) -> tuple[Job, float] | None:
    """Return the job of the next attempt and the seconds to wait before it; None if the job is not retried.

    A lost process or machine resumes from its checkpoint. After out of memory in training, the next attempt uses half
    the micro-batch, as long as that divides the rollouts: the gradient is the same sum in another order. An unreachable
    server is retried after a wait that grows each time. Programming errors, a full disk and a stage over its time limit
    are not retried.
    """
    attempt, cause = job.attempt, end.get("cause")
    if attempt.number > options.retries:
        return None
    following = replace(attempt, number=attempt.number + 1)
    if cause == "lost":
        return replace(job, attempt=following), 0.0
    if cause == "endpoint":
        wait = options.retry_seconds * GROWTH ** (attempt.number - 1)
        return replace(job, attempt=following), wait * random.uniform(1.0, 1.25)
    if cause == "memory" and end.get("stage") == "train":
        config = job.trial.config
        rollouts = count_rollouts_a_process(config)
        smaller = halve(rollouts, attempt.micro_batch or find_micro_batch(config) or rollouts)
        return (replace(job, attempt=replace(following, micro_batch=smaller)), 0.0) if smaller else None
    return None


def count_rollouts_a_process(config: TrialConfig) -> int:
    """Return the number of rollouts per step of each process, which is the largest possible micro-batch."""
    from trainers.backbones import BACKBONES

    train = config.train
    return train.prompts_per_step * train.group_size // BACKBONES.load(config.backbone).processes


def find_micro_batch(config: TrialConfig) -> int | None:
    """Return the micro-batch of the trial or of its backbone; None: all rollouts of a process at once."""
    from trainers.backbones import BACKBONES

    return config.train.micro_batch or BACKBONES.load(config.backbone).micro_batch


def halve(rollouts: int, micro_batch: int) -> int | None:
    """Return the largest micro-batch that divides the rollouts and is at most half the given size; None below 1."""
    return next((size for size in range(micro_batch // 2, 0, -1) if rollouts % size == 0), None)


def _walk_chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        yield each
        each = each.__cause__ or each.__context__
