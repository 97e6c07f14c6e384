"""Where the model of an embedded critic, or of the embedded process reward model, is."""

from __future__ import annotations

from pathlib import Path

from capo_bench.critic.prm import PRM, PrmParams
from capo_bench.home import Home
from trainers.critics.base import CriticParams
from trainers.methods import Emit


def embedded_folder(params: CriticParams, home: Home, emit: Emit) -> Path | None:
    """Return the folder of the embedded model that settings name, trained first if need be; None without one.

    Args:
        params: Settings of a critic.
        home: The results folder, which keeps the model; studies that run at the same time train it once.
        emit: Told of the training's steps, or that another process trains it.
    """
    taught = params.taught if isinstance(params, PrmParams) else None
    critic = params.embedded_critic
    if taught is None and critic is None:
        return None
    from capo_bench.run.lock import wait_for_lock
    from capo_bench.run.shared import ensure_critic, ensure_prm

    lock = home.path / "cache" / f"{PRM if taught else 'critic'}.lock"
    with wait_for_lock(lock, lambda: False, lambda: emit({"kind": "stage", "stage": "waiting"})):
        if taught is not None:
            return ensure_prm(taught, home, emit)
        return None if critic is None else ensure_critic(critic, home, emit)
