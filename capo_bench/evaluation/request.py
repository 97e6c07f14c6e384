"""The request for an evaluation, and its identity before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.evaluation.models import fingerprint_weights
from capo_bench.store.provenance import find_version
from capo_bench.study.identity import identify_critic
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
    """The critic that judges the steps of the completions."""

    params: CriticParams
    vote: Vote
    critiques: int
    max_abstained: float

    def identity(self) -> dict[str, Any]:
        """Return all that decides its verdicts."""
        return {**identify_critic(self.params), "vote": self.vote.label, "critiques": self.critiques}


@dataclass(frozen=True)
class EvaluationRequest:
    """An evaluation.

    Attributes:
        limit: Problems of each task; None takes all.
        data_dir: Local files; None uses the hub.
        samples: k, sampled answers of each problem; None takes each task's own.
        answers: Where an answer may stand in a completion; None keeps each task's own.
        sampling: Settings that replace the task's: temperature, top_p, max_tokens.
        judge: The critic of steps; None uses each task's exact checker, if it has one.
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


def compute_identity(request: EvaluationRequest, tasks: Sequence[EvalTask]) -> dict[str, Any]:
    """Return all that decides the completions and is known without the model."""
    spec = request.spec
    # A server's model may have the name of a local folder; the server gives no other identity.
    weights = {"model": spec.model} if spec.backend == "openai" else fingerprint_weights(spec.model, spec.revision)
    held = spec.model_dump(mode="json", include={"backend", "dtype", "template", "max_length"})
    return {
        "version": VERSION,
        "model": {**weights, **held, "batch_size": spec.batch},
        "packages": {name: find_version(name) for name in ("lm_eval", *_PACKAGES[spec.backend])},
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
