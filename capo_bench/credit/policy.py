"""Which policy sampled a stored optimizer step, and the model that it is: without it there is no true advantage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.study.identity import cold_start_key
from trainers.backbones import BACKBONES
from trainers.rollouts import stored_steps

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Trial
    from evals.models.spec import ModelSpec


class NoPolicyError(ValueError):
    """The policy of an optimizer step is not there; says why."""


def known_steps(trial: Trial, home: Home) -> dict[int, str]:
    """Return the stored optimizer steps whose policy is kept, and which it is: ``start`` or ``trained``.

    The rollouts of the first step are the start's. Those of the last were sampled by the policy one update before the
    trained one, which stands in for it: policies between the two are not kept.
    """
    steps = list(stored_steps(home.trial(trial.id).rollouts))
    if not steps:
        return {}
    last = {steps[-1]: "trained"} if steps[-1] == trial.config.train.steps else {}
    return {**last, **({1: "start"} if steps[0] == 1 else {})}


def policy_of(trial: Trial, home: Home, which: str) -> ModelSpec:
    """Return the model of the ``start`` or of the ``trained`` policy.

    Raises:
        NoPolicyError: It is not there.
    """
    from evals.models.spec import ModelSpec

    backbone, key = BACKBONES.load(trial.config.backbone), cold_start_key(trial.config)
    folder: Path | None = home.trial(trial.id).model
    if which == "start":
        folder = None if key is None else home.stage("cold_start", key)
    if folder is not None and not folder.is_dir():
        raise NoPolicyError(f"{folder} is not there (capo-bench gc may have freed it); run the trial again")
    model = str(folder) if folder is not None else str(backbone.model)
    return ModelSpec(
        model=model, revision=None if folder is not None else backbone.revision, template=backbone.template
    )
