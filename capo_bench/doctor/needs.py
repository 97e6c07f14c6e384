"""Collect what the trials of a plan need from a machine, over their distinct settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from capo_bench.study.beside import BYTES, Beside, find_served_weights, list_models_beside
from capo_bench.study.data import list_used_rows
from capo_bench.study.plan import Plan
from capo_bench.study.served import ServedCritic, find_served_critic, list_served_critics
from evals.tasks.identity import read_task_settings
from trainers.backbones import BACKBONES, BackboneConfig, VllmRollouts
from trainers.config import TrialConfig
from trainers.critics.endpoint import EndpointParams
from trainers.methods import METHODS

State = Literal["ok", "warning", "missing", "unknown"]
"""State of a need. ``unknown``: it could not be checked. Only ``missing`` prevents a study from running."""


@dataclass(frozen=True)
class Finding:
    """One need of a study, whether it is met, and how to meet it; `remedy` is empty if nothing is to be done."""

    what: str
    state: State
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class HubItem:
    """A model or dataset on the hub; revision None is the newest."""

    kind: str
    name: str
    revision: str | None


@dataclass(frozen=True)
class Needs:
    """Needs of a plan's trials.

    Attributes:
        trained: Settings of the trials that train each backbone.
        hub: Bytes of models and datasets, with the type in which a model is loaded; None if unknown.
        endpoints: Critics behind an endpoint that the run does not start.
        served: Critics that the run serves.
        servers: Rollout servers.
        extras: Packages in addition to the required ones, each with the setting that needs it.
        models: Number of trials that write a trained model, by backbone.
    """

    backbones: dict[str, BackboneConfig]
    trained: dict[str, tuple[TrialConfig, ...]]
    hub: dict[HubItem, int | None]
    endpoints: tuple[EndpointParams, ...]
    served: tuple[ServedCritic, ...]
    servers: tuple[VllmRollouts, ...]
    extras: dict[str, str]
    trials: int
    models: dict[str, int]


def collect_needs(plan: Plan) -> Needs:
    """Return what the trials of a plan need."""
    configs = list({trial.variant: trial.config for trial in plan.trials}.values())
    backbones = {config.backbone: BACKBONES.load(config.backbone) for config in configs}
    training = [config for config in configs if METHODS.get(config.method).train is not None]
    asking = [config.critic for config in configs if "critic" in METHODS.get(config.method).uses]
    reached = [params for params in asking if isinstance(params, EndpointParams) and params.serve is None]
    hub: dict[HubItem, int | None] = {}
    for backbone in backbones.values():
        if backbone.source == "hub":
            size = backbone.planned.parameters * BYTES[backbone.dtype] if backbone.planned else None
            _add(hub, HubItem("model", str(backbone.model), backbone.revision), size)
    for judge in (judge for config in training for judge in list_judges(config)):
        _add(hub, HubItem("model", judge.model, judge.revision), judge.weights)
    samplers = [backbones[config.backbone].vllm for config in training]
    return Needs(
        backbones=backbones,
        trained={name: tuple(each for each in training if each.backbone == name) for name in backbones},
        hub=hub | dict.fromkeys(_list_datasets(configs)),
        endpoints=tuple({(params.base_url, params.model): params for params in reached}.values()),
        served=tuple(list_served_critics(plan.trials)),
        servers=tuple(dict.fromkeys(each for each in samplers if each is not None and each.mode == "server")),
        extras=_list_extras(configs, backbones),
        trials=len(plan.trials),
        models=Counter(each.config.backbone for each in plan.trials if METHODS.get(each.config.method).train),
    )


def _add(hub: dict[HubItem, int | None], item: HubItem, size: int | None) -> None:
    hub[item] = max(filter(None, (hub.get(item), size)), default=None)


def list_judges(config: TrialConfig) -> list[Beside]:
    """Return the models that judge a trial's rollouts, wherever they run, except embedded ones."""
    beside, served = list_models_beside(config), find_served_critic(config)
    if served is None or served.embedded is not None or any(model.role == "critic" for model in beside):
        return beside
    return [*beside, find_served_weights(config.critic, served)]


def _list_datasets(configs: Iterable[TrialConfig]) -> list[HubItem]:
    datasets = []
    for config in configs:
        away = [rows.rows for _, rows in list_used_rows(config) if not rows.rows.local]
        datasets += [HubItem("dataset", str(rows.hub), rows.revision) for rows in away]
        if config.evaluation.data_dir is None:
            for task in config.evaluation.tasks:
                if hub := (read_task_settings(task).get("dataset_kwargs") or {}).get("hub"):
                    datasets.append(HubItem("dataset", hub["path"], hub.get("revision")))
    return datasets


def _list_extras(configs: Iterable[TrialConfig], backbones: dict[str, BackboneConfig]) -> dict[str, str]:
    extras: dict[str, str] = {}
    for config in configs:
        backbone = backbones[config.backbone]
        if config.evaluation.backend == "vllm":
            extras.setdefault("vllm", "evaluation.backend: vllm")
        if METHODS.get(config.method).train is None:
            continue
        if "critic" in METHODS.get(config.method).uses and config.critic.name == "vllm":
            extras.setdefault("vllm", "critic.name: vllm")
        if find_served_critic(config) is not None:
            extras.setdefault("vllm", "critic.serve")
        if backbone.vllm is not None:
            extras.setdefault("vllm", f"section vllm of backbone {config.backbone}")
        if backbone.sharding == "deepspeed":
            extras.setdefault("deepspeed", f"sharding of backbone {config.backbone}")
    return extras
