"""Where the embedded critic's model is."""

from __future__ import annotations

from pathlib import Path

from capo_bench.home import Home
from trainers.critics.base import CriticParams
from trainers.methods import Emit


def embedded_folder(params: CriticParams, home: Home, emit: Emit) -> Path | None:
    """Return the folder of the embedded critic's model, trained first if need be; None for settings without it.

    Args:
        params: Settings of a critic.
        home: The results folder, which keeps the model; studies that run at the same time train it once.
        emit: Told of the training's steps, or that another process trains it.
    """
    if params.embedded_critic is None:
        return None
    from capo_bench.run.lock import wait_for_lock
    from capo_bench.run.shared import ensure_critic

    lock = home.path / "cache" / "critic.lock"
    with wait_for_lock(lock, lambda: False, lambda: emit({"kind": "stage", "stage": "waiting"})):
        return ensure_critic(params.embedded_critic, home, emit)
