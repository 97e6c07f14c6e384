"""Define the settings of the process reward model. This module imports pydantic only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from evals.settings import Positive, Strict
from trainers.credit.segment import SEGMENTERS
from trainers.teaching import SupervisedConfig

EMBEDDED = "embedded"
TAUGHT_ON = "coins"
"""The benchmark on which the embedded model is trained."""

Format = Literal["trl", "qwen"]


class EmbeddedPrmConfig(SupervisedConfig):
    """Supervised training of the embedded model on solutions with errors, labelled by the exact checker.

    `stray` is the probability that a step does something other than it should.
    """

    steps: Positive = 500
    problems_per_step: Positive = 32
    stray: Annotated[float, Field(ge=0, lt=1)] = 0.1


class PrmConfig(Strict):
    """Settings of the process reward model, and of the credit from its scores.

    Attributes:
        model: ``embedded`` (the tiny model that the harness trains), a repository id or a local folder.
        format: Format of a solution; see `trainers.prm.reading`.
        parameters: Number of the model's parameters, to estimate the hardware it needs; counted if its files are
            available.
        batch_tokens: Maximum number of tokens per batch, including padding. It can change the last bits of scores, as
            padding does.
        embedded: Training settings of the embedded model; no effect for any other model.
        segmenter: Cuts rollouts into steps.
        w_whole: Weight of the outcome's advantage relative to that of the process.
        temperature: T of the transform in min credit; null is its limit of 0.
        max_unscored: Largest share of a step's rollouts that the model may leave unscored.
    """

    model: str = EMBEDDED
    revision: str | None = None
    format: Format = "trl"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    parameters: Annotated[float, Field(ge=1)] | None = None
    batch_tokens: Positive = 16384
    embedded: EmbeddedPrmConfig = EmbeddedPrmConfig()
    segmenter: Annotated[str, AfterValidator(SEGMENTERS.check)] = "blank_lines"
    w_whole: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] | None = 0.1
    max_unscored: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _embedded_as_it_is(self) -> PrmConfig:
        if self.model == EMBEDDED and (self.format != "trl" or self.revision is not None):
            raise ValueError(
                f"model 'embedded' with format {self.format!r} and revision {self.revision!r}: it reads the format "
                "'trl' and has no revision; set model to a repository id or a folder, or leave both out"
            )
        return self

    @property
    def taught(self) -> EmbeddedPrmConfig | None:
        """Training settings of the embedded model, if these settings use it; None for any other model."""
        return self.embedded if self.model == EMBEDDED else None

    @property
    def folder(self) -> Path | None:
        """Folder of the model, if it is a folder of the user."""
        return Path(self.model) if self.taught is None and Path(self.model).is_dir() else None

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the scores and the credit; of the weights, only the model's name."""
        return self.model_dump(mode="json", exclude={"parameters"} if self.taught else {"parameters", "embedded"})
