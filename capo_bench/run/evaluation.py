"""The generation and scoring stages of a trial, by the harness that measures any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evals.config import EvaluationConfig
from evals.harness.asking import as_wanted, complete, generate_all
from evals.harness.folder import RESULT
from evals.harness.spec import ModelSpec
from evals.harness.tasks import EvalTask
from evals.verify import Verifier
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.credit.segment import SEGMENTERS, step_texts
from trainers.methods import Emit


def owed_tasks(settings: EvaluationConfig, out: Path) -> list[str]:
    """Return the tasks that a folder does not hold every completion of."""
    return [name for name in settings.tasks if not complete(out / name)]


def generate(  # noqa: PLR0913, PLR0917 - what is measured, how, where to, and who is told
    config: TrialConfig, seed: int, model: str, out: Path, emit: Emit, stop: Callable[[], bool]
) -> bool:
    """Ask a model for the completions of the trial's tasks that are still owed.

    Every trial is asked the same problems, so that differences pair problem by problem.

    Args:
        config: The trial's settings.
        seed: The trial's seed; decides what is sampled.
        model: Folder or repository id of the model.
        out: Receives a folder for each task.
        emit: Told of the tasks as they begin.
        stop: Asked between batches; true: return.

    Returns:
        Whether everything was asked; False if `stop` said so first.
    """
    from evals.harness.opening import open_backend
    from evals.harness.tasks import load_tasks

    settings = config.evaluation
    owed = owed_tasks(settings, out)
    if not owed:
        return True
    data_dir = None if settings.data_dir is None else Path(settings.data_dir)
    tasks = [_as_set(task, settings) for task in load_tasks(owed, data_dir=data_dir, limit=settings.problems)]

    def begin(task: EvalTask) -> None:
        emit({"kind": "stage", "stage": "generate", "task": task.name})

    return generate_all(tasks, lambda: open_backend(_spec(config, model)), out, seed=seed, begin=begin, stop=stop)


def score(settings: EvaluationConfig, out: Path, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Score the completions of the tasks that have no result yet; needs no model and no data.

    Args:
        settings: Which tasks, and how solutions are cut into steps.
        out: What `generate` wrote, to its end.
        emit: Told of the tasks as they begin.
        stop: Asked between tasks; true: return.

    Returns:
        Whether everything is scored; False if `stop` said so first.
    """
    from evals.harness.score import score as score_task

    segment = SEGMENTERS.get(settings.segmenter)

    def cut(text: str) -> Sequence[str]:
        return step_texts(text, segment(text))

    with Verifier() as verifier:
        for task in settings.tasks:
            if (out / task / RESULT).exists():
                continue
            if stop():
                return False
            emit({"kind": "stage", "stage": "score", "task": task})
            score_task(out / task, verifier=verifier, cut=cut, segmenter=settings.segmenter)
    return True


def _spec(config: TrialConfig, model: str) -> ModelSpec:
    backbone, settings = BACKBONES.load(config.backbone), config.evaluation
    return ModelSpec(
        model=model,
        backend=settings.backend,
        revision=backbone.revision if model == backbone.model else None,
        dtype=backbone.precision,
        template=backbone.template,
        batch_size=settings.batch_size,
    )


def _as_set(task: EvalTask, settings: EvaluationConfig) -> EvalTask:
    """Return a task with what the trial sets instead of its own way."""
    return as_wanted(
        task,
        settings.samples,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_completion_tokens,
    )
