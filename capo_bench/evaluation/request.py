"""What an evaluation is asked to be, and what decides its completions before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.evaluation.models import fingerprint
from capo_bench.study.identity import critic_identity, digest
from evals.models.spec import ModelSpec

if TYPE_CHECKING:
    from capo_bench.critic.quality import Vote
    from evals.harness.tasks import EvalTask
    from evals.verify.answers import AnswerStyle
    from trainers.critics.base import CriticParams

VERSION = 1
SEGMENTER = "blank_lines"
"""Cuts every completion into steps, as the evaluation of trials does."""

_PACKAGES = {"hf": ("torch", "transformers", "peft"), "vllm": ("torch", "vllm"), "openai": ()}


@dataclass(frozen=True)
class Judge:
    """The critic that judges the steps of the completions.

    Attributes:
        params: Its settings.
        vote: How its critiques become the wrong steps.
        critiques: K, critiques of each completion.
        max_abstained: Largest share of critiques without a verdict.
    """

    params: CriticParams
    vote: Vote
    critiques: int
    max_abstained: float

    def identity(self) -> dict[str, Any]:
        """Return what decides its verdicts."""
        return {**critic_identity(self.params), "vote": self.vote.label, "critiques": self.critiques}


@dataclass(frozen=True)
class EvaluationRequest:
    """An evaluation.

    Attributes:
        word: The model as it was named.
        spec: The model.
        names: Suites and tasks as they were named.
        tasks: The tasks that these mean, in order.
        seed: Decides the draws.
        limit: Problems of each task; None takes all.
        data_dir: Local files; None takes the hub's.
        greedy: Whether each problem is answered greedily.
        samples: k, sampled answers of each problem; None takes each task's own.
        answers: Where an answer may stand in a completion; None leaves it to each task.
        sampling: What is to be sampled otherwise than the task says: temperature, top_p, max_tokens.
        judge: The critic of steps; None asks each task's exact checker, where it has one.
        most_failed: Largest share of completions that an endpoint may owe.
    """

    word: str
    spec: ModelSpec
    names: tuple[str, ...]
    tasks: tuple[str, ...]
    seed: int
    limit: int | None
    data_dir: Path | None
    greedy: bool
    samples: int | None
    answers: AnswerStyle | None
    sampling: dict[str, Any]
    judge: Judge | None
    most_failed: float


def identity(request: EvaluationRequest, tasks: Sequence[EvalTask]) -> dict[str, Any]:
    """Return all that decides the completions, as far as it is known without the model."""
    spec = request.spec
    # A server may name its model by a folder that lies here too, and says nothing of what it serves.
    weights = {"model": spec.model} if spec.backend == "openai" else fingerprint(spec.model, spec.revision)
    held = spec.model_dump(mode="json", include={"backend", "dtype", "template", "max_length"})
    return {
        "version": VERSION,
        "model": {**weights, **held, "batch_size": spec.batch},
        "packages": {name: _version(name) for name in ("lm_eval", *_PACKAGES[spec.backend])},
        "seed": request.seed,
        "tasks": [
            {
                "task": task.name,
                "version": task.version,
                "data": task.data,
                "problems": len(task.problems),
                "answers": task.answers,
                "greedy": task.greedy,
                "samples": task.samples,
                "sampling": vars(task.sampling),
            }
            for task in tasks
        ],
    }


def evaluation_id(whole: dict[str, Any]) -> str:
    """Return the name of an evaluation's folder: the hash of its identity."""
    return digest(whole)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
