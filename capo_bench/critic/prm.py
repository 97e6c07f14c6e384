"""A process reward model as a critic: a step that it scores below a threshold is one that it calls wrong.

It is asked through the scorer that trains `prm_sum` and `prm_min`, once: it says the same every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings
from trainers.prm.config import PrmConfig

if TYPE_CHECKING:
    from trainers.prm.scored import ScoredSolution
    from trainers.prm.scorer import Scorer

PRM: Literal["prm"] = "prm"

_OF_TRAINING = frozenset({"segmenter", "w_whole", "temperature", "max_unscored", "parameters"})


@dataclass(frozen=True)
class ScoredCritique(Critique):
    """What a process reward model says of a solution.

    Attributes:
        scores: Probability that each step is right; empty where it could not score, and then `text` says why.
    """

    scores: tuple[float, ...] = ()


class PrmParams(PrmConfig, CriticParams):
    """A process reward model as the settings of a study name it under `prm`, without what is made of its scores.

    Attributes:
        threshold: A step whose score is below it is called wrong; the default is what `flagged_step_rate` counts by.
    """

    name: Literal["prm"] = "prm"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="before")
    @classmethod
    def _nothing_of_training(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and (named := sorted(_OF_TRAINING & tree.keys())):
            raise ValueError(f"{', '.join(named)}: of training, without effect on the scores; leave it out")
        return tree

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the scores, and the threshold."""
        return {key: value for key, value in super().identity().items() if key not in _OF_TRAINING}

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the model, loaded.

        Raises:
            ValueError: It cannot be loaded, or is no process reward model.
        """
        import torch

        from trainers.prm.scorer import Scorer

        try:
            scorer = Scorer(self, str(surroundings.embedded or self.model))
        except OSError as error:
            raise ValueError(str(error)) from error
        scorer.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        return _PrmCritic(scorer, self.threshold)


class _PrmCritic:
    """A loaded model that scores solutions."""

    eager = False

    def __init__(self, scorer: Scorer, threshold: float) -> None:
        self._scorer, self._threshold = scorer, threshold

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return the one reading of each solution, k times."""
        scored = self._scorer.score([(solution.problem.prompt, solution.steps) for solution in solutions])
        return [[self._said(each)] * k for each in scored]

    async def close(self) -> None:
        """Hold nothing."""

    def _said(self, scored: ScoredSolution) -> Critique:
        usage = Usage(prompt_tokens=scored.tokens)
        if scored.scores is None:
            return ScoredCritique(None, "error", str(scored.unscored), usage)
        wrong = frozenset(step for step, score in enumerate(scored.scores) if score < self._threshold)
        return ScoredCritique(wrong, usage=usage, scores=scored.scores)


def explain_abstention(critique: Critique) -> str | None:
    """Return why a critique has no verdict: of a process reward model, in its own words; None where it has one."""
    return critique.text if isinstance(critique, ScoredCritique) and critique.abstained else critique.abstained
