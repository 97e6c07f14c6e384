"""First-error credit trains as CAPO does, on the same rollouts and critiques, with another charge."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainers import capo
from trainers.rollouts import read_rollouts

LESSON = {"critic": {"name": "noisy"}, "credit": {"critiques": 2, "vote": "union"}}


def test_it_charges_the_tokens_from_the_first_flagged_step_on(make_run: Any) -> None:
    run, records = make_run(method="first_error", **LESSON)
    assert capo.train(run)
    for step, record in zip(read_rollouts(run.rollouts), records, strict=True):
        flagged = [frozenset().union(*(c.wrong or () for c in row.critiques)) for row in step.rollouts]
        charged = sum(sum(row.tokens[min(wrong) :]) for row, wrong in zip(step.rollouts, flagged, strict=True) if wrong)
        assert charged > 0
        assert record["penalised_tokens"] == np.float64(charged) / record["policy_tokens"]
        assert record["flagged_step_rate"] == sum(map(len, flagged)) / sum(len(row.steps) for row in step.rollouts)


def test_its_first_step_meets_the_rollouts_and_critiques_of_capo(make_run: Any) -> None:
    once = {"train": {"steps": 1, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40}, **LESSON}
    ours, theirs = make_run(name="ours", method="first_error", **once), make_run(name="theirs", **once)
    assert capo.train(ours[0])
    assert capo.train(theirs[0])
    assert list(read_rollouts(ours[0].rollouts)) == list(read_rollouts(theirs[0].rollouts))
    assert ours[1][0]["penalised_tokens"] > theirs[1][0]["penalised_tokens"]
