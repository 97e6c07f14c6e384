"""The critics of a plan that the run serves: one server for each, shared by all trials that use it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from capo_bench.store.home import Home
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig
from trainers.critics.base import CriticParams, EmbeddedCriticConfig
from trainers.critics.endpoint import EndpointParams
from trainers.critics.serve import ServeParams
from trainers.methods import METHODS


@dataclass(frozen=True)
class ServedCritic:
    """The model and settings of one server. Trials with equal values share a server.

    `model` is a repository id, a folder or ``embedded``, and also the model's name at the server. `embedded` is the
    configuration of the embedded critic, if that is served.
    """

    model: str
    embedded: EmbeddedCriticConfig | None
    serve: ServeParams

    def __str__(self) -> str:
        """Return a description for the end of a sentence."""
        return f"the server of critic {self.model!r}"

    @property
    def place(self) -> str:
        """Description of the hardware that the server runs on."""
        if not self.serve.gpus:
            return "the GPUs of the trials, or on processors where there are none"
        split = self.serve.tensor_parallel_size
        gpus = "1 GPU of its own" if self.serve.gpus == 1 else f"{self.serve.gpus} GPUs of its own"
        return f"{gpus} (tensor_parallel_size {split})" if split > 1 else gpus


def find_served_by(params: CriticParams) -> ServedCritic | None:
    """Return the served critic of critic settings; None if the critic is not served."""
    if not isinstance(params, EndpointParams) or params.serve is None:
        return None
    return ServedCritic(params.model, params.embedded_critic, params.serve)


def find_served_critic(config: TrialConfig) -> ServedCritic | None:
    """Return the served critic that a trial with these settings uses; None if it uses none."""
    return find_served_by(config.critic) if "critic" in METHODS.get(config.method).uses else None


def find_pending_critic(trial: Trial, home: Home) -> ServedCritic | None:
    """Return the served critic that a trial still needs; None if it uses none or has finished training."""
    return None if home.trial(trial.id).model.exists() else find_served_critic(trial.config)


def list_served_critics(trials: Iterable[Trial]) -> list[ServedCritic]:
    """Return the served critics that trials use, without duplicates."""
    served = (find_served_critic(trial.config) for trial in trials)
    return list(dict.fromkeys(critic for critic in served if critic is not None))
