"""Run by test_processes.py in each of two processes: one step in which a group spans both; writes what it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from evals.coins import COINS
from trainers.capo import CapoTrainer
from trainers.config import TrialConfig
from trainers.credit.critique import Critique
from trainers.criticised import CriticFailingError
from trainers.critics.base import Surroundings
from trainers.critics.critic_thread import CriticThread
from trainers.critics.draws import DrawingCritic
from trainers.critics.noisy import NoisyParams
from trainers.policy import train_policy
from trainers.run import TrainRun


class Mute(DrawingCritic):
    """Never has a verdict."""

    async def critique(self, solutions: Any, k: int, *, first: int = 0, greedy: bool = False) -> list[list[Critique]]:
        return [[Critique(None, "timeout")] * k for _ in solutions]


def main(start: str, folder: Path, max_abstained: float = 0, micro_batch: int = 2) -> None:
    """Train one step and write this process's rewards, mask and advantages, and the step's record.

    With `max_abstained` the critic of the second process is mute, and what stopped a process is written.
    """
    rank = int(os.environ["RANK"])

    class Seen(CapoTrainer):
        def credit(self, evidence: Any) -> Any:
            credited = super().credit(evidence)
            layout, earned = credited.layout, credited.earned
            rewards, advantages = layout.by_token(earned.rewards), layout.by_token(earned.advantages)
            signal = {"groups_process_signal_only": credited.process_only}
            np.savez(folder / f"{rank}.npz", rewards=rewards, mask=layout.mask, advantages=advantages, **signal)
            return credited

    config = TrialConfig.model_validate(
        {
            "train": {
                "steps": 1,
                "prompts_per_step": 1,
                "group_size": 4,
                "max_completion_tokens": 40,
                "micro_batch": int(micro_batch),
            },
            "credit": {"critiques": 2, "vote": "average", "max_abstained": max_abstained or 0.5},
        }
    )
    run = TrainRun(
        config=config,
        seed=0,
        start=start,
        out=folder / "checkpoints",
        model=folder / "model",
        rollouts=folder / "rollouts",
        record=lambda record: (folder / f"{rank}.json").write_text(json.dumps(record)) and None,
    )
    kind = Mute if max_abstained and rank else DrawingCritic
    critic_thread = CriticThread(kind(NoisyParams(false_alarm=0.5, miss=0.5), Surroundings(COINS, rank)))
    try:
        assert train_policy(run, Seen, "blank_lines", critic_thread=critic_thread)
    except CriticFailingError as error:
        (folder / f"{rank}.stopped").write_text(str(error))
    critic_thread.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(float, sys.argv[3:]))
