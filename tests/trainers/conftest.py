"""What the trainers' tests share: a model that has seen a little of coins, and runs of a few steps on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.backbones import BACKBONES
from trainers.config import ColdStartConfig, TrialConfig
from trainers.run import TrainRun

SMALL: dict[str, Any] = {
    "train": {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 40},
    "critic": {"name": "exact"},
    "credit": {"critiques": 1, "vote": "union"},
}


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny model after a short cold start: it writes steps, mostly wrong ones."""
    from trainers.cold_start import train_cold_start

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("start")
    lesson = ColdStartConfig(steps=40, problems_per_step=32)
    train_cold_start(BACKBONES.load("tiny"), lesson, folder, lambda record: None)
    return str(folder)


@pytest.fixture
def make_run(start: str, tmp_path: Path) -> Callable[..., tuple[TrainRun, list[dict[str, Any]]]]:
    """Return a function that makes a run of a few steps and the list that its records go to."""

    def make(seed: int = 0, name: str = "run", stop: Callable[[], bool] = lambda: False, **changes: Any) -> Any:
        config = TrialConfig.model_validate({**SMALL, **changes})
        records: list[dict[str, Any]] = []
        folder = tmp_path / name
        run = TrainRun(
            config=config,
            seed=seed,
            start=start,
            out=folder / "checkpoints",
            model=folder / "model",
            rollouts=folder / "rollouts",
            record=records.append,
            stop=stop,
        )
        return run, records

    return make
