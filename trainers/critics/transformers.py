"""The `transformers` critic's settings: a language model in this process."""

from __future__ import annotations

from typing import ClassVar, Literal

from evals.models.spec import ModelSpec
from evals.settings import Positive
from trainers.critics.base import Surroundings
from trainers.critics.local import LocalParams


class TransformersParams(LocalParams):
    """Settings of a critic that runs through Transformers.

    Attributes:
        batch_tokens: Most tokens that are held at once: every critique with its prompt, at its longest.
    """

    backend: ClassVar[str | None] = "hf"
    name: Literal["transformers"] = "transformers"
    batch_tokens: Positive = 131072

    MACHINE: ClassVar[frozenset[str]] = frozenset({"batch_tokens"})

    def spec(self, surroundings: Surroundings) -> ModelSpec:
        """Return the model that is asked.

        Raises:
            ValueError: It is nowhere to be found: see `source`.
        """
        return ModelSpec(
            model=self.source(surroundings),
            backend="hf",
            revision=self.revision,
            dtype=self.dtype,
            template="message",
            batch_tokens=self.batch_tokens,
        )
