"""From a critic's settings to a critic ready to be asked."""

from __future__ import annotations

from pathlib import Path

from trainers.critics.base import Critic, CriticParams, Surroundings


def open_critic(params: CriticParams, surroundings: Surroundings, cache: Path | None) -> Critic:
    """Build a critic.

    Args:
        params: Its settings.
        surroundings: What it is built with.
        cache: Where critiques are kept; None keeps none.
    """
    return params.build(surroundings)
