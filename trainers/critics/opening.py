"""From a critic's settings to a critic ready to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.definitions import closure
from evals.fingerprint import folder_identity
from evals.models.open import BACKENDS
from trainers.critics.base import Critic, CriticParams, Surroundings
from trainers.critics.cached import CachedCritic
from trainers.critics.store import FILE, CritiqueStore


def open_critic(params: CriticParams, surroundings: Surroundings, cache: Path | None) -> Critic:
    """Build a critic; one whose critiques are worth keeping asks only for what it has not said yet.

    Args:
        params: Its settings.
        surroundings: What it is built with.
        cache: Folder in which critiques are kept; None keeps none.
    """
    critic = params.build(surroundings)
    if not params.kept:
        return critic
    return CachedCritic(critic, _identity(params, surroundings), CritiqueStore(cache / FILE) if cache else None)


def _identity(params: CriticParams, surroundings: Surroundings) -> dict[str, Any]:
    """Return what decides the critiques: settings, what a folder's model is, and the code that asks and reads.

    The code is that of the critic with all that it reaches: the prompt's text, the parser, a plug-in's own helpers.
    """
    settings = params.identity()
    named = settings.get("model")
    folder = surroundings.embedded if params.embedded_critic else Path(named) if isinstance(named, str) else None
    return {
        "critic": settings,
        "model": folder_identity(folder) if folder is not None and folder.is_dir() else None,
        "code": closure(f"{type(params).__module__}:{type(params).__qualname__}").hash,
        "model's code": closure(BACKENDS[params.backend]).hash if params.backend else None,
    }
