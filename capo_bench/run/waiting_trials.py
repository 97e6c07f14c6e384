"""Trials that wait for the models that they share with others, and for their critic's server."""

from __future__ import annotations

from collections.abc import Iterable

from capo_bench.run.executor import Job
from capo_bench.store.home import Home
from capo_bench.study.identity import SharedModel, list_shared_models
from capo_bench.study.plan import Trial
from capo_bench.study.served import ServedCritic, find_pending_critic

Need = SharedModel | ServedCritic
"""What a trial waits for: a model until it is made, or a critic until it is served."""


class WaitingTrials:
    """Tracks which trials can start as their needs are met or fail; trials are returned in their given order.

    Attributes:
        missing: The shared models that are not in the results folder, each with the trials that need it.
    """

    def __init__(self, trials: Iterable[Trial], home: Home) -> None:
        self.missing: dict[SharedModel, list[Trial]] = {}
        self._lacks: dict[str, set[Need]] = {}
        self._trials: dict[str, Trial] = {}
        for trial in trials:
            models = [
                model for model in list_shared_models(trial.config) if not home.stage(model.kind, model.key).exists()
            ]
            served = find_pending_critic(trial, home)
            self.wait(trial, [*models, *([served] if served else [])])
            for model in models:
                self.missing.setdefault(model, []).append(trial)

    def wait(self, trial: Trial, needs: Iterable[Need]) -> None:
        """Make a trial wait for its needs; without needs it is ready."""
        self._trials[trial.id] = trial
        self._lacks[trial.id] = set(needs)

    @property
    def for_servers(self) -> bool:
        """Whether a trial waits only for the server of its critic."""
        return any(lacks and all(isinstance(need, ServedCritic) for need in lacks) for lacks in self._lacks.values())

    def model(self, job: Job) -> SharedModel:
        """Return the model that a job makes: the model of the job's kind that its trial needs."""
        return next(model for model in list_shared_models(job.trial.config) if model.kind == job.do)

    def ready(self) -> list[Trial]:
        """Return the trials that wait for nothing; each trial is returned once."""
        return self._take([trial_id for trial_id, lacks in self._lacks.items() if not lacks])

    def made(self, need: Need) -> None:
        """Record that a model is made or a critic is served."""
        for lacks in self._lacks.values():
            lacks.discard(need)

    def lost(self, need: Need) -> list[Trial]:
        """Record that a model or a critic's server failed for good; return the trials that therefore cannot start."""
        return self._take([trial_id for trial_id, lacks in self._lacks.items() if need in lacks])

    def _take(self, ids: list[str]) -> list[Trial]:
        for trial_id in ids:
            del self._lacks[trial_id]
        return [self._trials.pop(trial_id) for trial_id in ids]
