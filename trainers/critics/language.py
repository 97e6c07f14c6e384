"""Use a language model as critic: prompt, complete, parse. `evals.models` decides which model runs, and where."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from evals.models.base import Completion, End, Model, Sampling
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from evals.settings import Positive
from trainers.credit.critique import Abstention, Critique
from trainers.credit.parse import parse
from trainers.credit.prompt import PROMPT_VERSION, critique_prompt
from trainers.credit.replies import ReplyName
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings

_ABSTENTIONS: dict[End, Abstention] = {
    "refusal": "refusal",
    "filter": "refusal",
    "timeout": "timeout",
    "error": "error",
}
"""Reason of abstention for each way in which a completion can fail."""


class LanguageCritic:
    """Asks a language model for critiques (paper, LLM-as-GenPRM); each critique is one reading of the whole solution.

    The model is opened at the first request.
    """

    def __init__(
        self, spec: ModelSpec, sampling: Sampling, seed: int, reference: bool, reply: ReplyName = "list"
    ) -> None:
        self._spec, self._sampling, self._seed = spec, sampling, seed
        self._reference, self._reply = reference, reply
        self._model: Model | None = None
        self._opening = asyncio.Lock()
        self.eager = spec.backend == "openai"

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return k critiques of each solution; a completion that cannot be parsed as a verdict is an abstention.

        Raises:
            ModelError: The model cannot be opened.
        """
        model = await self._opened()
        prompts = [model.prompt(self._ask(solution)) for solution in solutions]
        sampling = self._sampling.greedily() if greedy else self._sampling
        rows = await model.complete(prompts, k, sampling, seed=self._seed, first=first)
        return [
            [read_critique(completion, solution, self._reply) for completion in row]
            for solution, row in zip(solutions, rows, strict=True)
        ]

    async def close(self) -> None:
        """Close the model."""
        if self._model is not None:
            await self._model.close()

    async def _opened(self) -> Model:
        async with self._opening:
            if self._model is None:
                self._model = await asyncio.to_thread(open_model, self._spec)
            return self._model

    def _ask(self, solution: Solution) -> str:
        problem = solution.problem
        reference = problem.answer if self._reference else None
        return critique_prompt(problem.prompt, solution.steps, aim=solution.aim, reference=reference, reply=self._reply)


def read_critique(completion: Completion, solution: Solution, reply: ReplyName = "list") -> Critique:
    """Parse a completion as a critique of a solution; its text is always kept."""
    text, usage = completion.text, completion.usage
    reason = _ABSTENTIONS.get(completion.end)
    if reason is not None:
        return Critique(None, reason, text, usage)
    cut = completion.end == "length"
    verdict = parse(text, solution.aim, len(solution.steps), truncated=cut, reply=reply)
    return Critique(None, verdict, text, usage) if isinstance(verdict, str) else Critique(verdict, None, text, usage)


class LanguageParams(CriticParams):
    """Settings that every language model critic has.

    Attributes:
        temperature: Sampling temperature, above 0. A greedy critique always uses 0.
        max_tokens: Maximum length of a critique; a longer one is truncated and abstains.
        reference: Whether the critic sees the reference answer (paper, Table 9).
        reply: Format of the replies: a list of the wrong steps at the end, or a boxed verdict for each step in the
            format of the model with this name (`trainers.credit.replies`).
        seed: Seed of the critic's sampling. It is not the trial's seed: trials with different seeds get the same
            critique of the same solution.
        parameters: Number of the model's parameters, for the cost of its tokens; for a model in a local folder they are
            counted.
    """

    kept: ClassVar[bool] = True
    where: ClassVar[frozenset[str]] = frozenset({"parameters"})
    parameters: Annotated[float, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Positive = 1024
    reference: bool = False
    reply: ReplyName = "list"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _reply_that_is_taught(self) -> LanguageParams:
        if self.embedded_critic is not None and self.reply != "list":
            raise ValueError(
                f"reply {self.reply!r} with the embedded critic, which is taught to end with a list; "
                "leave reply out, or set model to a repository id or a folder"
            )
        return self

    def spec(self, surroundings: Surroundings) -> ModelSpec:
        """Return the model to use.

        Raises:
            ValueError: The model is not available.
        """
        raise NotImplementedError

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic.

        Raises:
            ValueError: The model is not available.
        """
        sampling = Sampling(self.temperature, self.top_p, self.max_tokens)
        return LanguageCritic(self.spec(surroundings), sampling, self.seed, self.reference, self.reply)

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the critiques, and the version of the prompt."""
        settings = {**super().identity(), "prompt_version": PROMPT_VERSION}
        if self.embedded_critic is None:
            settings.pop("embedded", None)
        return settings

    @property
    def size_known(self) -> bool:
        """Whether the settings give the number of the model's parameters."""
        return self.parameters is not None

    def size(self, surroundings: Surroundings) -> int | None:
        """Return the number of parameters from the settings; None if it is not set."""
        return None if self.parameters is None else int(self.parameters)
