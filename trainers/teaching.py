"""Define the settings of supervised training of cold starts and critics. This module imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from evals.coins.pupil import MISCONCEPTIONS, Misconception, measure_touched_share
from evals.settings import Positive, Strict
from evals.tasks.row_settings import DEMONSTRATIONS, DemonstrationRows, DemonstrationsName

UNLABELLED = -100
"""The label of a token without a loss."""
TRIAL: Literal["trial"] = "trial"
"""Placeholder for the seed of the trial for which a supervised training is run."""
_MOST_TOUCHED = 0.9
"""If nearly every step is touched by a misconception, no step shows the right rule."""


class TeachingConfig(Strict):
    """Supervised training in one pass over drawn examples.

    Attributes:
        seed: Seed of the drawn examples and of an embedded model's initial weights. With a number, all trials share the
            trained model. With ``trial``, each seed of a study has its own.
        problems_per_step: Number of solutions per step.
    """

    seed: int | Literal["trial"] = 0
    steps: Positive = 280
    problems_per_step: Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5

    @field_validator("seed", mode="before")
    @classmethod
    def _number_or_trial(cls, seed: object) -> object:
        if seed != TRIAL and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ValueError(
                f"seed {seed!r} is neither a whole number nor 'trial'; write a number to share what is trained among "
                "all trials, or trial for the seed of each"
            )
        return seed

    @property
    def number(self) -> int:
        """The seed.

        Raises:
            ValueError: The seed is still the placeholder for a trial's seed (`add_trial_seed`).
        """
        if self.seed == TRIAL:
            raise ValueError("seed 'trial' stands for the seed of a trial, and there is none here: set it to a number")
        return self.seed


class SftConfig(TeachingConfig):
    """Supervised training on demonstrations that a study names, with AdamW: the paper's SFT.

    Attributes:
        demonstrations: The demonstrations: solutions of a published data set (`DEMONSTRATIONS`), or rows.
        max_tokens: Demonstrations with more tokens are left out, and counted.
        micro_batch: Maximum number of demonstrations per forward and backward pass.
    """

    demonstrations: DemonstrationsName
    max_tokens: Positive = 2048
    micro_batch: Positive = 4

    @field_validator("demonstrations")
    @classmethod
    def _published_or_rows(cls, named: str | DemonstrationRows) -> str | DemonstrationRows:
        return DEMONSTRATIONS.check(named) if isinstance(named, str) else named


class SupervisedConfig(TeachingConfig):
    """Supervised training of an embedded model on drawn solutions of coins.

    Attributes:
        learning_rate: Peak learning rate of the layers' matrices, with Muon.
        adamw_learning_rate: Peak learning rate of all other parameters, with AdamW.
        operations: Minimum and maximum length of a problem.
        misconceptions: Misconceptions of the pupils whose solutions are used.
        slip: Probability that a step without a misconception has a random error.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 0.02
    adamw_learning_rate: Annotated[float, Field(gt=0)] = 6e-3
    operations: Annotated[tuple[Positive, Positive], Field(strict=False)] = (2, 9)
    misconceptions: Annotated[tuple[Misconception, ...], Field(strict=False)] = MISCONCEPTIONS
    slip: Annotated[float, Field(ge=0, lt=1)] = 0.05

    @field_validator("operations")
    @classmethod
    def _ordered(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if bounds[0] > bounds[1]:
            raise ValueError(f"the smaller bound comes first: [{bounds[1]}, {bounds[0]}]")
        return bounds

    @field_validator("misconceptions")
    @classmethod
    def _touch_some_steps(cls, rules: tuple[Misconception, ...]) -> tuple[Misconception, ...]:
        share = measure_touched_share(rules, "lessons")
        if rules and not 0 < share < _MOST_TOUCHED:
            raise ValueError(
                f"the misconceptions give a wrong result for {share:.0%} of the steps of the lessons; choose rules for "
                f"more than none and less than {_MOST_TOUCHED:.0%} of them, or [] for pupils that hold no wrong rule"
            )
        return rules


Settings = TypeVar("Settings", bound=Strict)


def add_trial_seed(settings: Settings, seed: int) -> Settings:
    """Return settings in which every supervised training with ``seed: trial`` has the seed of the trial."""
    parts = {name: (part, add_trial_seed(part, seed)) for name, part in settings if isinstance(part, Strict)}
    changes: dict[str, Any] = {name: after for name, (before, after) in parts.items() if after is not before}
    if isinstance(settings, TeachingConfig) and settings.seed == TRIAL:
        changes["seed"] = seed
    return settings.model_copy(update=changes) if changes else settings
