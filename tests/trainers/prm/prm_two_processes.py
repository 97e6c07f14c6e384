"""Run by test_prm_processes.py in each of two processes: a step in which a group spans both; writes what it saw."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch

from trainers.config import TrialConfig
from trainers.credit.batch import lay_out
from trainers.criticised import CriticFailingError
from trainers.policy import train_policy
from trainers.prm.config import PrmConfig
from trainers.prm.scorer import Scorer
from trainers.prm_trainer import ScoredTrainer
from trainers.run import TrainRun


class Seen(ScoredTrainer):
    """Writes the scores of its rollouts and what became of them."""

    folder: Path

    def advantages(self, width: int) -> torch.Tensor:
        advantages = super().advantages(width)
        layout = lay_out(self.alignment.tokens)
        scores = np.concatenate([each.scores or () for each in self.scored])
        seen = {"steps": layout.steps, "tokens": layout.tokens, "scores": scores, "outcomes": self.outcomes}
        width = layout.mask.shape[1]
        file = self.folder / f"{self.accelerator.process_index}.npz"
        np.savez(file, advantages=advantages.numpy()[:, :width], **seen)
        return advantages


def main(start: str, model: str, folder: Path, max_unscored: float | None = None) -> None:
    """Train one step; with `max_unscored` the model of the second process reads nothing."""
    rank = int(os.environ["RANK"])
    train = {"steps": 1, "prompts_per_step": 1, "group_size": 4, "max_completion_tokens": 40}
    prm = {"max_unscored": max_unscored or 0.5}
    config = TrialConfig.model_validate({"method": "prm_sum", "train": train, "prm": prm})
    out = (folder / "checkpoints", folder / "model", folder / "rollouts")
    run = TrainRun(config, 0, start, *out, record=lambda record: None)
    scorer = Scorer(PrmConfig(), model)
    if max_unscored and rank:
        scorer._positions = 1
    Seen.folder = folder
    try:
        assert train_policy(run, Seen, "blank_lines", scorer=scorer)
    except CriticFailingError as error:
        (folder / f"{rank}.stopped").write_text(str(error))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *map(float, sys.argv[4:]))
