"""Trials that wait for the models that they share with others."""

from __future__ import annotations

from collections.abc import Iterable

from capo_bench.home import Home
from capo_bench.run.executor import Job
from capo_bench.study.identity import SharedModel, shared_models
from capo_bench.study.plan import Trial


class Waiting:
    """Which trials can begin, as one shared model after the other is made or fails.

    Args:
        trials: The trials, in the order in which they are wanted.
        home: The results folder, which may have some of the models.

    Attributes:
        missing: The models to make, each with the trials that need it.
    """

    def __init__(self, trials: Iterable[Trial], home: Home) -> None:
        self.missing: dict[SharedModel, list[Trial]] = {}
        self._lacks: dict[str, set[SharedModel]] = {}
        self._trials = {trial.id: trial for trial in trials}
        for trial in self._trials.values():
            models = [model for model in shared_models(trial.config) if not home.cache(model.kind, model.key).exists()]
            self._lacks[trial.id] = set(models)
            for model in models:
                self.missing.setdefault(model, []).append(trial)

    def model(self, job: Job) -> SharedModel:
        """Return the model that a job makes: that of its kind that its trial needs."""
        return next(model for model in shared_models(job.trial.config) if model.kind == job.do)

    def ready(self) -> list[Trial]:
        """Return the trials that lack nothing, each of them once."""
        found = [trial for trial_id, trial in self._trials.items() if not self._lacks[trial_id]]
        for trial in found:
            del self._trials[trial.id]
        return found

    def made(self, model: SharedModel) -> None:
        """A model is there."""
        for trial in self.missing[model]:
            self._lacks[trial.id].discard(model)

    def lost(self, model: SharedModel) -> list[Trial]:
        """A model cannot be made: return the trials that can never begin, each of them once."""
        found = [trial for trial in self.missing[model] if trial.id in self._trials]
        for trial in found:
            del self._trials[trial.id]
        return found
