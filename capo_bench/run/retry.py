"""Whether a failed job is tried again, how, and when. What would fail again is not."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from capo_bench.run.executor import Job
from capo_bench.run.failures import half, rollouts_a_process, usual_micro_batch
from capo_bench.run.wire import Message

if TYPE_CHECKING:
    from capo_bench.run.runner import RunOptions

GROWTH = 5.0
"""An endpoint that is down is left alone so many times longer before each further try."""


def again(job: Job, end: Message, options: RunOptions) -> tuple[Job, float] | None:
    """Return the job of the next try and the seconds to wait before it; None where there is none.

    A lost process or machine goes on from its checkpoint. Out of memory in training goes on with half the micro-batch,
    as long as that divides the rollouts: the gradient is the same sum in another order. A server that could not be
    reached is asked again later, later each time. A mistake, a full disk or a stage over its time is not tried again.

    Args:
        job: What failed.
        end: How: ``{"cause", "stage"?}``.
        options: ``retries`` and ``retry_seconds``.
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
