"""What a study may say about the process reward model. Light: pydantic only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from evals.settings import Positive, Strict
from trainers.credit.segment import SEGMENTERS
from trainers.teaching import SupervisedConfig

EMBEDDED = "embedded"
TAUGHT_ON = "coins"
"""The benchmark that the embedded model is taught on."""

Format = Literal["trl", "qwen"]


class EmbeddedPrmConfig(SupervisedConfig):
    """Supervised training of the embedded model on solutions that go wrong, labelled by the exact checker.

    `stray` is the probability that a step does something else than it should.
    """

    steps: Positive = 500
    problems_per_step: Positive = 32
    stray: Annotated[float, Field(ge=0, lt=1)] = 0.1


class PrmConfig(Strict):
    """The process reward model, and what is made of its scores.

    Attributes:
        model: ``embedded`` (the tiny one that the harness teaches), a repository id or a local folder.
        format: How it reads a solution: see `trainers.prm.reading`.
        parameters: Size of the model, for what it takes of a machine; one whose files are there is counted by them.
        batch_tokens: Most tokens, padding among them, that it reads at once; decides bits, as padding does.
        embedded: How the embedded model is taught; without effect for any other.
        segmenter: Cuts rollouts into steps.
        w_whole: Weight of the outcome's advantage beside that of the process.
        temperature: T of the min credit's transform; null is its limit of 0.
        max_unscored: Largest share of a step's rollouts that the model may leave unscored.
    """

    model: str = EMBEDDED
    revision: str | None = None
    format: Format = "trl"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    parameters: Annotated[float, Field(ge=1)] | None = None
    batch_tokens: Positive = 16384
    embedded: EmbeddedPrmConfig = EmbeddedPrmConfig()
    segmenter: str = "blank_lines"
    w_whole: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] | None = 0.1
    max_unscored: Annotated[float, Field(gt=0, le=1)] = 0.5

    @field_validator("segmenter")
    @classmethod
    def _segmenter_known(cls, name: str) -> str:
        return SEGMENTERS.check(name)

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
        """How the embedded model is taught, where these settings ask for it; None for any other model."""
        return self.embedded if self.model == EMBEDDED else None

    @property
    def folder(self) -> Path | None:
        """The folder that the model is read from, where it is one of the user's."""
        return Path(self.model) if self.taught is None and Path(self.model).is_dir() else None

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the scores and what is made of them; of weights, only the name."""
        return self.model_dump(mode="json", exclude={"parameters"} if self.taught else {"parameters", "embedded"})
