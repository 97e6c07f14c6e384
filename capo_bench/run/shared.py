"""The models that trials share, each made once and put in place in one go: cold starts and embedded judges of steps."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.home import Home, write_json
from capo_bench.provenance import environment
from capo_bench.run.threads import EMBEDDED_THREADS, set_threads
from capo_bench.study.identity import SHARED_TITLES, SharedKind, cold_start_key, embedded_critic_key, embedded_prm_key
from trainers.backbones import BACKBONES
from trainers.methods import Emit

if TYPE_CHECKING:
    from pydantic import BaseModel

    from capo_bench.study.plan import Trial
    from trainers.critics.base import EmbeddedCriticConfig
    from trainers.prm.config import EmbeddedPrmConfig


def ensure_shared(kind: SharedKind, trial: Trial, home: Home, emit: Emit) -> Path:
    """Return the folder of a model that the trial shares with others, making it if it is not there yet.

    Raises:
        ValueError: The trial needs none of this kind; a cold start that an embedded backbone lacks or another has.
    """
    if kind == "cold_start":
        return ensure_cold_start(trial, home, emit)
    if kind == "prm":
        taught = trial.config.prm.taught
        if taught is None:
            raise ValueError(f"the process reward model {trial.config.prm.model!r} of trial {trial.id} is not embedded")
        return ensure_prm(taught, home, emit)
    config = trial.config.critic.embedded_critic
    if config is None:
        raise ValueError(f"the critic {trial.config.critic.name!r} of trial {trial.id} is not the embedded one")
    return ensure_critic(config, home, emit)


def ensure_cold_start(trial: Trial, home: Home, emit: Emit) -> Path:
    """Return the folder of the trial's cold start, making it if it is not there yet.

    Raises:
        ValueError: The backbone is embedded and the trial has no cold start, or the other way round.
    """
    config = trial.config
    backbone = BACKBONES.load(config.backbone)
    key = cold_start_key(config)
    if config.cold_start is None or key is None or backbone.source != "embedded":
        raise ValueError(
            f"backbone {config.backbone!r} is {backbone.source} and cold_start is "
            f"{'not set' if config.cold_start is None else 'set'}; an embedded backbone needs one, one from the hub "
            "has none: set cold_start to null for it"
        )
    folder = home.cache("cold_start", key)
    if not folder.exists():
        from trainers.backbones.cold_start import train_cold_start

        make = partial(train_cold_start, backbone, config.cold_start)
        _make_shared("cold_start", make, folder, emit, config.cold_start)
    return folder


def ensure_critic(config: EmbeddedCriticConfig, home: Home, emit: Emit) -> Path:
    """Return the folder of the embedded critic, making it if it is not there yet."""
    folder = home.cache("critic", embedded_critic_key(config))
    if not folder.exists():
        from trainers.critics.embedded import train_critic

        _make_shared("critic", partial(train_critic, config), folder, emit, config)
    return folder


def ensure_prm(config: EmbeddedPrmConfig, home: Home, emit: Emit) -> Path:
    """Return the folder of the embedded process reward model, making it if it is not there yet."""
    folder = home.cache("prm", embedded_prm_key(config))
    if not folder.exists():
        from trainers.prm.embedded import train_prm

        _make_shared("prm", partial(train_prm, config), folder, emit, config)
    return folder


def _make_shared(
    kind: SharedKind, make: Callable[[Path, Emit], None], folder: Path, emit: Emit, settings: BaseModel
) -> None:
    """Make a shared model in a scratch folder and put it in place in one go."""
    set_threads(EMBEDDED_THREADS)
    title = SHARED_TITLES[kind]
    emit({"kind": "stage", "stage": title})
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(scratch, ignore_errors=True)
    began = time.perf_counter()
    make(scratch, lambda record: emit_step(emit, "preparing", record, model=title))
    about = {kind: settings.model_dump(mode="json"), "seconds": time.perf_counter() - began}
    write_json(scratch / f"{kind}.json", {**about, **environment()})
    scratch.rename(folder)


def emit_step(emit: Emit, kind: str, record: dict[str, Any], **more: str) -> None:
    """Tell of one optimizer step."""
    metrics = {name: value for name, value in record.items() if name not in {"step", "of"}}
    emit({"kind": kind, "step": record["step"], "of": record["of"], "metrics": metrics, **more})
