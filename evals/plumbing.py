"""List the plumbing: modules that transport results but compute none, by the stage of a trial that they serve.

A module belongs here if a correct version changes no number: it writes and reads files, reports, waits, retries, shows
progress, or moves a trial from stage to stage. Its content is not part of any trial's identity. A change that affects
results must raise the version of its stage. The content is recorded in each trial's provenance, and a report warns if
it differs within a study.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """The plumbing of one stage.

    Attributes:
        version: Raise it by hand if a change of these modules affects results; it is part of every trial's identity.
        modules: Names of the modules.
    """

    version: int
    modules: tuple[str, ...]


STAGES: dict[str, Stage] = {
    "training": Stage(
        version=1,
        modules=(
            "capo_bench.run.launch",
            "capo_bench.run.work",
            "capo_bench.run.shared_models",
            "capo_bench.run.stages",
            "capo_bench.run.threads",
            "capo_bench.run.training",
            "trainers.callbacks",
            "trainers.checkpoints",
            "trainers.critics.cached",
            "trainers.critics.critic_thread",
            "trainers.critics.serve",
            "trainers.critics.store",
            "trainers.records",
            "trainers.rollouts",
            "trainers.watch",
        ),
    ),
    "generation": Stage(
        version=1,
        modules=(
            "capo_bench.run.evaluation",
            "evals.checksums",
            "evals.files",
            "evals.harness.folder",
            "evals.harness.identity",
            "evals.harness.progress",
            "evals.harness.shares",
            "evals.models.base",
            "evals.models.chat",
            "evals.models.folders",
            "evals.models.engine",
        ),
    ),
    "scoring": Stage(version=1, modules=("evals.estimates", "evals.harness.results")),
}
TABLES = frozenset(
    {"evals.models.open", "evals.registry", "evals.tasks.named", "trainers.backbones", "trainers.config"}
)
"""Modules that turn names and values of settings into objects: the identity contains these values themselves."""
APART = frozenset(module for stage in STAGES.values() for module in stage.modules) | TABLES
"""Modules that `evals.definitions` does not follow."""
