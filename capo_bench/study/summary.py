"""A plan as plain data, for `plan --json`, `ls --json` and the golden files of shipped studies."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from capo_bench.study.estimate import PlanEstimate, count_critic_calls
from capo_bench.study.plan import Plan
from trainers.backbones import BACKBONES

_ESTIMATE = TypeAdapter(PlanEstimate)
WORKERS = 2
"""Number of parallel trials assumed in the costs of a profile."""


def plan_json(plan: Plan, taken: PlanEstimate, least: PlanEstimate | None = None) -> dict[str, Any]:
    """Return a plan with its ids and its estimate; `least` is the estimate of the first look, for a plan with looks."""
    return {
        **plan_outline(plan),
        "file": plan.file,
        "trials": [{"id": trial.id, "variant": trial.variant, "seed": trial.seed} for trial in plan.trials],
        "estimate": _ESTIMATE.dump_python(taken, mode="json"),
        **({"least": _ESTIMATE.dump_python(least, mode="json")} if least else {}),
    }


def plan_outline(plan: Plan) -> dict[str, Any]:
    """Return the content of a plan that does not depend on code: no ids, hashes or estimates."""
    return {
        "study": plan.study,
        "question": plan.question,
        "profile": plan.profile,
        "baseline": plan.baseline,
        "start": plan.start,
        **({"within": list(plan.within)} if plan.within else {}),
        **({"looks": list(plan.looks)} if plan.looks else {}),
        "metrics": list(plan.metrics),
        "variants": [
            {
                "name": variant.name,
                "overrides": dict(variant.overrides),
                "config": variant.config.model_dump(mode="json"),
                "seeds": [trial.seed for trial in plan.trials if trial.variant == variant.name],
                "critic_calls_per_trial": count_critic_calls(variant.config),
            }
            for variant in plan.variants
        ],
    }


def estimate_profile_costs(plan: Plan, taken: PlanEstimate) -> dict[str, Any]:
    """Return the size of a profile and its costs.

    ``seconds`` is the time with `WORKERS` workers, or on the GPUs that the study states; None without an estimate.
    ``gpus`` are the distinct numbers of GPUs that train a policy, in ascending order; 0 means processors.
    """
    seconds = taken.gpu.wall_seconds if taken.gpu else taken.wall_seconds(WORKERS)
    return {
        "profile": plan.profile,
        "variants": len(plan.variants),
        "trials": len(plan.trials),
        "critic_calls": taken.critic_calls,
        "critic_calls_known": taken.calls_known,
        "workers": WORKERS,
        "seconds": None if taken.unknown else seconds,
        "gpu_hours": taken.gpu.gpu_hours if taken.gpu else 0.0,
        "gpus": sorted({BACKBONES.load(variant.config.backbone).gpus for variant in plan.variants}),
    }
