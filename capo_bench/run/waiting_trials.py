"""Trials that wait: for the models that they share with others, and for the server of their critic."""

from __future__ import annotations

from collections.abc import Iterable

from capo_bench.run.executor import Job
from capo_bench.store.home import Home
from capo_bench.study.identity import SharedModel, shared_models
from capo_bench.study.plan import Trial
from capo_bench.study.served import ServedCritic, pending_critic

Need = SharedModel | ServedCritic
"""What a trial waits for: a model until it is made, a critic until it is served."""


class WaitingTrials:
    """Which trials can begin, as one need after the other is met or fails; they are given in the order they are wanted.

    Attributes:
        missing: The models to make that the results folder lacks, each with the trials that need it.
    """

    def __init__(self, trials: Iterable[Trial], home: Home) -> None:
        self.missing: dict[SharedModel, list[Trial]] = {}
        self._lacks: dict[str, set[Need]] = {}
        self._trials: dict[str, Trial] = {}
        for trial in trials:
            models = [model for model in shared_models(trial.config) if not home.stage(model.kind, model.key).exists()]
            served = pending_critic(trial, home)
            self.wait(trial, [*models, *([served] if served else [])])
            for model in models:
                self.missing.setdefault(model, []).append(trial)

    def wait(self, trial: Trial, needs: Iterable[Need]) -> None:
        """Have a trial wait for something."""
        self._trials[trial.id] = trial
        self._lacks[trial.id] = set(needs)

    @property
    def for_servers(self) -> bool:
        """Whether a trial waits for nothing but the server of its critic."""
        return any(lacks and all(isinstance(need, ServedCritic) for need in lacks) for lacks in self._lacks.values())

    def model(self, job: Job) -> SharedModel:
        """Return the model that a job makes: that of its kind that its trial needs."""
        return next(model for model in shared_models(job.trial.config) if model.kind == job.do)

    def ready(self) -> list[Trial]:
        """Return the trials that lack nothing, each of them once."""
        return self._take([trial_id for trial_id, lacks in self._lacks.items() if not lacks])

    def made(self, need: Need) -> None:
        """A model is made, or a critic is served."""
        for lacks in self._lacks.values():
            lacks.discard(need)

    def lost(self, need: Need) -> list[Trial]:
        """A model cannot be made, or a critic not be served: return the trials that can never begin."""
        return self._take([trial_id for trial_id, lacks in self._lacks.items() if need in lacks])

    def _take(self, ids: list[str]) -> list[Trial]:
        for trial_id in ids:
            del self._lacks[trial_id]
        return [self._trials.pop(trial_id) for trial_id in ids]
