"""The generation and scoring stages of a trial, built on the evaluation harness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from typing import Any

from capo_bench.run.devices import list_visible_gpus
from capo_bench.run.threads import fix_threads
from capo_bench.store.home import TrialFolder
from capo_bench.study.plan import Trial
from evals.config import EvaluationConfig
from evals.harness.asking import apply_settings, complete, generate_all
from evals.harness.folder import RESULT
from evals.harness.shares import ALONE, Share, join, split
from evals.harness.tasks import EvalTask
from evals.models.spec import ModelSpec
from evals.verify import Verifier
from trainers import Emit
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.credit.segment import SEGMENTERS, list_step_texts
from trainers.critics.serve import measure_memory_taken

_ENGINE_MEMORY, _LEAST_MEMORY = 0.9, 0.1
"""Share of a GPU's memory that an evaluation engine takes if no critic server uses the GPU, and the smallest share."""


def list_pending_tasks(settings: EvaluationConfig, folder: TrialFolder) -> list[str]:
    """Return the tasks for which a trial lacks completions."""
    return [task for task in settings.tasks if not complete(folder.completions(task))]


def ask(trial: Trial, model: str, folder: TrialFolder, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Ask a trial's model for the pending completions; large models and engines run in a separate process.

    Args:
        trial: The trial.
        model: Folder or repository id of the model.
        folder: Folder of the trial.
        emit: Receives progress messages.
        stop: Called between batches; True requests an early end.

    Returns:
        True when no completion is pending, False when `stop` requested an early end.
    """
    pending, out = list_pending_tasks(trial.config.evaluation, folder), folder.path / "completions"
    if not pending:
        return True
    settings = {"trial": trial.as_json(), "tasks": pending, "model": model, "out": str(out)}
    if trial.config.evaluation.backend == "hf" and BACKBONES.load(trial.config.backbone).source == "embedded":
        return generate_part(settings, 0, emit, stop)
    begun = any((out / name).exists() for name in pending)
    shares = split(1 if begun else max(1, len(list_visible_gpus())))
    if not _ask_shares(settings, shares, folder.processes, emit, stop):
        return False
    if len(shares) > 1:
        join(out, pending, shares)
    return True


def _ask_shares(
    settings: dict[str, Any], shares: Sequence[Share], folder: Path, emit: Emit, stop: Callable[[], bool]
) -> bool:
    """Ask for each share in its own process and on its own GPU; if one fails, the others stop at their next batch."""
    from capo_bench.run.launch import describe_one_process, launch

    failed, emitting = Event(), Lock()

    def tell(event: dict[str, Any]) -> None:
        with emitting:
            emit(event)

    def ask_share(share: Share) -> bool:
        process = (
            describe_one_process() if share.count == 1 else describe_one_process(list_visible_gpus()[share.number])
        )
        try:
            return launch(
                "capo_bench.run.evaluation:generate_part",
                {**settings, "share": [share.number, share.count]},
                process,
                folder if share.count == 1 else folder.with_name(f"{folder.name}-{share.number}"),
                tell if share.number == 0 else lambda _: None,
                lambda: failed.is_set() or stop(),
            )
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(len(shares)) as threads:
        return all(threads.map(ask_share, shares))


def generate_part(settings: dict[str, Any], rank: int, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Ask a trial's model in this process; see `capo_bench.run.work`."""
    trial = Trial.from_json(settings["trial"])
    fix_threads(trial)
    share = Share(*settings.get("share", (0, 1)))
    out = Path(settings["out"])
    return generate(trial.config, trial.seed, settings["model"], out, emit, stop, tasks=settings["tasks"], share=share)


def generate(  # noqa: PLR0913, PLR0917 - what is measured, how, where to, and who is notified
    config: TrialConfig,
    seed: int,
    model: str,
    out: Path,
    emit: Emit,
    stop: Callable[[], bool],
    *,
    tasks: Sequence[str] | None = None,
    share: Share = ALONE,
) -> bool:
    """Ask a model for the pending completions of tasks, by default of all tasks of the trial.

    All trials get the same problems, which allows paired comparisons per problem. The seed determines the sampling.
    `share` selects the problems that this process asks. `out` receives one folder for each task.

    Returns:
        True when no completion is pending, False when `stop`, called between batches, requested an early end.
    """
    from evals.harness.tasks import load_tasks
    from evals.models.open import open_model

    settings = config.evaluation
    data_dir = None if settings.data_dir is None else Path(settings.data_dir)
    loaded = load_tasks(tasks or settings.tasks, data_dir=data_dir, limit=settings.problems, own=settings.rows)
    selected = [part for task in loaded if (part := share.of(_apply_settings(task, settings))).problems]

    def begin(task: EvalTask) -> None:
        emit({"kind": "stage", "stage": "generate", "task": task.name})

    folder = share.folder(out)
    return generate_all(
        selected, lambda: open_model(_make_spec(config, model)), folder, seed=seed, begin=begin, stop=stop
    )


def score(settings: EvaluationConfig, folder: TrialFolder, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Score the completions of the tasks that have no result yet; needs no model and no data.

    Returns:
        True when all tasks are scored, False when `stop`, called between tasks, requested an early end.
    """
    from evals.harness.score import score as score_task

    segment = SEGMENTERS.get(settings.segmenter)

    def cut(text: str) -> Sequence[str]:
        return list_step_texts(text, segment(text))

    with Verifier() as verifier:
        for task in settings.tasks:
            out = folder.evaluation / task
            if (out / RESULT).exists():
                continue
            if stop():
                return False
            emit({"kind": "stage", "stage": "score", "task": task})
            score_task(folder.completions(task), verifier=verifier, cut=cut, segmenter=settings.segmenter, out=out)
    return True


def _make_spec(config: TrialConfig, model: str) -> ModelSpec:
    backbone, settings = BACKBONES.load(config.backbone), config.evaluation
    return ModelSpec(
        model=model,
        backend=settings.backend,
        revision=backbone.revision if model == backbone.model else None,
        dtype=backbone.precision,
        template=backbone.template,
        batch_size=settings.batch_size,
        gpu_memory_utilization=max(_ENGINE_MEMORY - measure_memory_taken(), _LEAST_MEMORY),
    )


def _apply_settings(task: EvalTask, settings: EvaluationConfig) -> EvalTask:
    return apply_settings(
        task,
        greedy=settings.greedy,
        samples=settings.samples,
        answers=settings.answers,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_completion_tokens,
    )
