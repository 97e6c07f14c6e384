"""A language model as critic: prompt, continue, parse. Which model, and where it runs, is the backend's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from evals.config import Positive
from trainers.credit.critique import Critique
from trainers.credit.parse import parse
from trainers.credit.prompt import PROMPT_VERSION, critique_prompt
from trainers.critics.backend import Backend, Reply
from trainers.critics.base import CriticParams, Solution, Surroundings


class LanguageCritic:
    """Asks a language model (paper, LLM-as-GenPRM): one reading of the whole solution a critique.

    Args:
        backend: Runs the model.
        reference: Whether the model sees the reference answer.
    """

    def __init__(self, backend: Backend, reference: bool) -> None:
        self._backend = backend
        self._reference = reference
        self.eager = backend.eager

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return k critiques of each solution; a reply that cannot be read as a verdict abstains."""
        prompts = [self._prompt(solution) for solution in solutions]
        replies = await self._backend.complete(prompts, k, first=first, greedy=greedy)
        return [
            [critique_of(reply, solution) for reply in row] for solution, row in zip(solutions, replies, strict=True)
        ]

    async def close(self) -> None:
        """Close the backend."""
        await self._backend.close()

    def _prompt(self, solution: Solution) -> str:
        problem = solution.problem
        reference = problem.answer if self._reference else None
        return critique_prompt(problem.prompt, solution.steps, aim=solution.aim, reference=reference)


def critique_of(reply: Reply, solution: Solution) -> Critique:
    """Read a reply as a critique of a solution; the text is kept whatever it says."""
    if reply.failure is not None:
        return Critique(None, reply.failure, reply.text, reply.usage)
    verdict = parse(reply.text, solution.aim, len(solution.steps), truncated=reply.truncated)
    if isinstance(verdict, str):
        return Critique(None, verdict, reply.text, reply.usage)
    return Critique(verdict, None, reply.text, reply.usage)


class LanguageParams(CriticParams):
    """Settings that every language model has as a critic.

    Attributes:
        temperature: Sampling temperature, above 0; a greedy critique is at 0 whatever this says.
        top_p: Share of the probability that is sampled from.
        max_tokens: Longest critique; a longer one is cut and abstains.
        reference: Whether the critic sees the reference answer (paper, Table 9).
        seed: Seed of the draws, the critic's own: trials of any seed hear the same critique of the same solution.
        parameters: Size of the model, for what its tokens cost; a model in a local folder is counted.
    """

    kept: ClassVar[bool] = True
    parameters: Annotated[float, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Positive = 1024
    reference: bool = False
    seed: Annotated[int, Field(ge=0)] = 0

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide what the critic says, and the version of what it is asked."""
        settings = {name: value for name, value in super().identity().items() if name != "parameters"}
        return {**settings, "prompt_version": PROMPT_VERSION}

    @property
    def size_known(self) -> bool:
        """Whether the settings say how large the model is."""
        return self.parameters is not None

    def size(self, surroundings: Surroundings) -> int | None:
        """Return what the settings say."""
        return None if self.parameters is None else int(self.parameters)
