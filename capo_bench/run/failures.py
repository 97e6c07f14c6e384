"""Why a job failed, told apart by what can be done about it, and whether it is tried again."""

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
"""A lost process or machine; out of memory; a server that cannot be reached; a full disk; a stage over its time."""

_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_CONNECTION = {"APIConnectionError", "APITimeoutError", "ConnectError", "ConnectTimeout", "MaxRetryError"}
_FULL = {errno.ENOSPC, errno.EDQUOT}


def cause_of(error: BaseException) -> Cause:
    """Return the cause of an error, looking at what it was raised from too."""
    for each in _chain(error):
        cause: Cause | None = getattr(each, "cause", None)  # found where it was raised, in another process
        if cause:
            return cause
        # By name: the packages that raise them are not imported for this.
        names = {kind.__name__ for kind in type(each).__mro__}
        message = str(each).lower()
        if names & {"MemoryError", "OutOfMemoryError"} or any(text in message for text in _MEMORY):
            return "memory"
        if isinstance(each, OSError) and each.errno in _FULL:
            return "disk"
        if isinstance(each, ConnectionError) or names & _CONNECTION or getattr(each, "unreachable", False):
            return "endpoint"
    return "other"


def advice(cause: Cause, stage: str, config: TrialConfig, micro_batch: int | None = None) -> str:
    """Return the setting to change where memory or disk ran out, as the end of a sentence; empty for other causes."""
    if cause == "disk":
        return "the disk is full: free space, then run again; finished trials are kept"
    if cause != "memory":
        return ""
    rollouts = rollouts_a_process(config)
    now = micro_batch or usual_micro_batch(config) or rollouts
    if stage == "train":
        smaller = half(rollouts, now)
        way_out = f"; set it to {smaller} or less" if smaller else ""
        return (
            f"out of memory while training: train.micro_batch is {now} of {rollouts} rollouts{way_out}, "
            "or --workers lower"
        )
    size = config.evaluation.batch_size
    return f"out of memory in stage {stage!r}: evaluation.batch_size is {size}; set a smaller one, or --workers lower"


GROWTH = 5.0
"""An endpoint that is down is left alone so many times longer before each further try."""


def again(job: Job, end: Message, options: RunOptions) -> tuple[Job, float] | None:
    """Return the job of the next try and the seconds to wait before it; None where there is none.

    A lost process or machine goes on from its checkpoint. Out of memory in training goes on with half the micro-batch,
    as long as that divides the rollouts: the gradient is the same sum in another order. A server that could not be
    reached is asked again later, later each time. A mistake, a full disk or a stage over its time is not tried again.
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
        rollouts = rollouts_a_process(config)
        smaller = half(rollouts, attempt.micro_batch or usual_micro_batch(config) or rollouts)
        return (replace(job, attempt=replace(following, micro_batch=smaller)), 0.0) if smaller else None
    return None


def rollouts_a_process(config: TrialConfig) -> int:
    """Return how many rollouts of a step each process has: the largest micro-batch."""
    from trainers.backbones import BACKBONES

    train = config.train
    return train.prompts_per_step * train.group_size // BACKBONES.load(config.backbone).processes


def usual_micro_batch(config: TrialConfig) -> int | None:
    """Return the micro-batch that the trial sets, or its backbone; None: all rollouts of a process at once."""
    from trainers.backbones import BACKBONES

    return config.train.micro_batch or BACKBONES.load(config.backbone).micro_batch


def half(rollouts: int, micro_batch: int) -> int | None:
    """Return the largest micro-batch of at most half the size that divides the rollouts; None below 1."""
    return next((size for size in range(micro_batch // 2, 0, -1) if rollouts % size == 0), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        yield each
        each = each.__cause__ or each.__context__
