"""Shared code of methods with a critic: request critiques early, wait for them late, and stop if too many abstain."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, ClassVar

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from evals.tasks.named import find_benchmark
from trainers.backbones import BACKBONES
from trainers.credit.critique import UNREACHED, Aim, Critique, measure_usage
from trainers.credit.votes import VOTES
from trainers.critics.base import CriticParams, Solution, Surroundings
from trainers.critics.cached import open_critic
from trainers.critics.critic_thread import Asked, CriticThread
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun

_SHOWN = 400
"""Maximum number of characters of an abstention that an error message shows."""


class CriticFailingError(RuntimeError):
    """Too many critiques abstained in one step to train on with this method, or the critic is unreachable."""

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class CriticisedTrainer(PolicyTrainer):
    """A policy trainer that asks a critic about every rollout.

    An eager critic is asked about each rollout as soon as its end token is sampled; any other critic is asked about the
    whole batch when it is complete. The critic works while the rest of the batch is sampled and the answers are
    verified. `critic_wait` is the time that was spent only on waiting for it.
    """

    aim: ClassVar[Aim] = "steps"

    def __init__(self, *, critic_thread: CriticThread, **kwargs: Any) -> None:
        self.critic_thread = critic_thread
        self._asked: dict[int, tuple[Solution, Asked]] = {}
        self.pending: list[tuple[list[int], Asked]] = []  # rows of rollouts, and the futures of their critiques
        self._critiques: list[list[Critique]] = []  # of the batch, one list per rollout
        super().__init__(**kwargs)

    @property
    def watches(self) -> bool:
        """Whether the critic is asked about single rollouts."""
        return self.critic_thread.eager

    def rollout_finished(self, row: int, steps: tuple[str, ...]) -> None:
        """Request critiques of one rollout while others are still being sampled."""
        solution = Solution(self.problems[row], steps, self.aim)
        self._asked[row] = solution, self._ask([solution])

    def rollouts_known(self) -> None:
        """Request critiques of all rollouts that were not requested yet."""
        pairs = zip(self.problems, self.alignment.steps, strict=True)
        solutions = [Solution(problem, steps, self.aim) for problem, steps in pairs]
        early, self._asked = self._asked, {}
        self.pending = [([row], asked) for row, (solution, asked) in early.items() if solution == solutions[row]]
        asked_about = {row for rows, _ in self.pending for row in rows}
        if late := [row for row in range(len(solutions)) if row not in asked_about]:
            self.pending.append((late, self._ask([solutions[row] for row in late])))

    def critiques(self) -> list[list[Critique]]:
        """Wait for the critiques of all rollouts, report their cost and time, and return them in order."""
        began = time.perf_counter()
        came = [(rows, asked.result()) for rows, asked in self.pending]
        waited = time.perf_counter() - began
        of_row = {
            row: critiques for rows, answers in came for row, critiques in zip(rows, answers.critiques, strict=True)
        }
        self._critiques = [of_row[row] for row in range(len(of_row))]
        seconds = max(answers.ended for _, answers in came) - min(answers.began for _, answers in came)
        self.report({**measure_usage(self._critiques), "seconds_critique": seconds, "critic_wait": waited})
        return self._critiques

    def judgment(self, row: int) -> dict[str, Any]:
        """Return the critiques of a rollout and what the critic was asked."""
        return {"aim": self.aim, "critiques": tuple(self._critiques[row])}

    def rollouts_kept(self) -> None:
        """Stop training if too many critiques abstained.

        Raises:
            CriticFailingError: More critiques abstained than the settings allow.
        """
        reasons = Counter[str](critique.abstained for row in self._critiques for critique in row if critique.abstained)
        abstained, asked, why = self.count_failures(reasons, sum(map(len, self._critiques)))
        limit = self.config.credit.max_abstained
        if abstained > limit * asked:
            raise CriticFailingError(
                f"{abstained} of {asked} critiques of this step abstained ({why}), more than credit.max_abstained "
                f"{limit}; mend the critic, or raise the limit{_show_examples(self._critiques)}",
                unreachable=2 * sum(n for reason, n in reasons.items() if reason in UNREACHED) > reasons.total(),
            )

    def _ask(self, solutions: list[Solution]) -> Asked:
        credit = self.config.credit
        return self.critic_thread.ask(solutions, credit.critiques, greedy=VOTES.get(credit.vote).asks_one)


def _show_examples(critiques: list[list[Critique]]) -> str:
    """Return an example text for each reason of abstention: the error of a failed call, or the end of a reply."""
    texts = {critique.abstained: critique.text for row in critiques for critique in row if critique.text}
    shown = [(reason, text) for reason, text in texts.items() if reason]
    # Escaped, because a critic may repeat control sequences of a solution, and a terminal shows this text.
    return "".join(f"\n{reason}: {'…' * (len(text) > _SHOWN)}{text[-_SHOWN:]!r}" for reason, text in shown)


def train_with_critic(run: TrainRun, trainer_class: type[CriticisedTrainer]) -> bool:
    """Train with the critic of the settings; see `train_policy`."""
    surroundings = Surroundings(find_benchmark(run.config.benchmark), run.seed, run.critic)
    critic = find_critic(run)
    critic_thread = CriticThread(open_critic(critic, surroundings, run.critique_cache))
    try:
        size = critic.size(surroundings)
        return train_policy(run, trainer_class, run.config.credit.segmenter, size, critic_thread=critic_thread)
    finally:
        critic_thread.close()


def find_critic(run: TrainRun) -> CriticParams:
    """Return the critic's settings; if they ask for the policy, the settings of the model from which training starts.

    Loading, the key of stored critiques and the weight of tokens are then the same as if that model were named
    explicitly.
    """
    critic = run.config.critic
    if not critic.asks_policy:
        return critic
    revision = BACKBONES.load(run.config.backbone).revision
    named = {"model": run.start, "revision": revision, "parameters": count_parameters(run.start, revision)}
    return critic.model_copy(update=named)


def count_parameters(model: str, revision: str | None) -> int:
    """Return the number of a model's parameters from its configuration, without loading weights."""
    config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
    models: Any = AutoModelForCausalLM  # typed as Any because its `from_config` has no types
    with torch.device("meta"):
        return sum(weight.numel() for weight in models.from_config(config, trust_remote_code=False).parameters())
