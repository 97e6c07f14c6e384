"""What a study may say about evaluation. Light: pydantic only."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from evals.benchmarks import BENCHMARKS


class Strict(BaseModel):
    """Base of every section: immutable, unknown keys are errors, numbers are finite and not made from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Positive = Annotated[int, Field(ge=1)]


class EvaluationConfig(Strict):
    """How a trained policy is measured: `samples` completions of each of `problems` problems of every split.

    `segmenter` cuts the solutions whose steps are checked. It stands apart from the one that assigns credit, so that
    policies trained with different ones are measured alike.
    """

    splits: tuple[str, ...] = Field(("test", "longer", "distractors"), min_length=1, strict=False)
    problems: Positive = 256
    segmenter: str = "blank_lines"
    samples: Positive = 1
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    max_completion_tokens: Positive = 96
    batch_size: Positive = 256

    @field_validator("splits")
    @classmethod
    def _no_split_twice(cls, splits: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(splits)) != len(splits):
            raise ValueError("a split is named twice; name each split once")
        return splits


def check_benchmark(name: str) -> str:
    """Validator: the benchmark is registered."""
    return BENCHMARKS.check(name)
