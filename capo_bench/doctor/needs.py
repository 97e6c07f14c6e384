"""What the trials of a plan need of a machine, gathered over its distinct settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from capo_bench.study.beside import models_beside
from capo_bench.study.plan import Plan
from evals.benchmarks import BENCHMARKS
from evals.tasks import task_files
from evals.training_sets import TrainingSet
from trainers.backbones import BACKBONES, BackboneConfig, VllmRollouts
from trainers.config import TrialConfig
from trainers.critics.endpoint import EndpointParams
from trainers.methods import METHODS


@dataclass(frozen=True)
class HubItem:
    """A model or a dataset of the hub.

    Attributes:
        kind: Which of both.
        name: Repository id.
        revision: Its commit; None: the newest.
    """

    kind: str
    name: str
    revision: str | None


@dataclass(frozen=True)
class Needs:
    """What a plan's trials need.

    Attributes:
        backbones: Backbones that are trained or measured, by name.
        trained: Settings of the trials that train each backbone.
        hub: Models and datasets to be had from the hub.
        endpoints: Critics behind an endpoint.
        servers: Servers of rollouts.
        extras: Packages beyond those that capo-bench always brings, each with the setting that asks for it.
        trials: How many trials.
    """

    backbones: dict[str, BackboneConfig]
    trained: dict[str, tuple[TrialConfig, ...]]
    hub: tuple[HubItem, ...]
    endpoints: tuple[EndpointParams, ...]
    servers: tuple[VllmRollouts, ...]
    extras: dict[str, str]
    trials: int


def needs_of(plan: Plan) -> Needs:
    """Gather what the trials of a plan need."""
    configs = list({trial.variant: trial.config for trial in plan.trials}.values())
    backbones = {config.backbone: BACKBONES.load(config.backbone) for config in configs}
    training = [config for config in configs if METHODS.get(config.method).train is not None]
    asking = [config.critic for config in configs if "critic" in METHODS.get(config.method).uses]
    endpoints = {(params.base_url, params.model): params for params in asking if isinstance(params, EndpointParams)}
    judges = [HubItem("model", one.model, one.revision) for config in training for one in models_beside(config)]
    samplers = [backbones[config.backbone].vllm for config in training]
    return Needs(
        backbones=backbones,
        trained={name: tuple(one for one in training if one.backbone == name) for name in backbones},
        hub=tuple(dict.fromkeys([*_models(backbones.values()), *judges, *_datasets(configs)])),
        endpoints=tuple(endpoints.values()),
        servers=tuple(dict.fromkeys(one for one in samplers if one is not None and one.mode == "server")),
        extras=_extras(configs, backbones),
        trials=len(plan.trials),
    )


def _models(backbones: Iterable[BackboneConfig]) -> list[HubItem]:
    return [HubItem("model", str(one.model), one.revision) for one in backbones if one.source == "hub"]


def _datasets(configs: Iterable[TrialConfig]) -> list[HubItem]:
    """Return the datasets of benchmarks and tasks that are read from the hub."""
    found = []
    for config in configs:
        benchmark = BENCHMARKS.get(config.benchmark)
        if isinstance(benchmark, TrainingSet) and not benchmark.local and METHODS.get(config.method).train is not None:
            found.append(HubItem("dataset", benchmark.hub, benchmark.revision))
        if config.evaluation.data_dir is None:
            for task in config.evaluation.tasks:
                if hub := _dataset_kwargs(task).get("hub"):
                    found.append(HubItem("dataset", hub["path"], hub.get("revision")))
    return found


def _extras(configs: Iterable[TrialConfig], backbones: dict[str, BackboneConfig]) -> dict[str, str]:
    found: dict[str, str] = {}
    for config in configs:
        backbone = backbones[config.backbone]
        if config.evaluation.backend == "vllm":
            found.setdefault("vllm", "evaluation.backend: vllm")
        if METHODS.get(config.method).train is None:
            continue
        if "critic" in METHODS.get(config.method).uses and config.critic.name == "vllm":
            found.setdefault("vllm", "critic.name: vllm")
        if backbone.vllm is not None:
            found.setdefault("vllm", f"section vllm of backbone {config.backbone}")
        if backbone.sharding == "deepspeed":
            found.setdefault("deepspeed", f"sharding of backbone {config.backbone}")
    return found


def _dataset_kwargs(task: str) -> dict[str, Any]:
    """Return where a task's rows come from; lm-eval's own tags, such as ``!function``, are read as nothing."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads what has a tag of lm-eval's as None."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    read = yaml.load(task_files()[task].read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader
    return dict(read.get("dataset_kwargs") or {})
