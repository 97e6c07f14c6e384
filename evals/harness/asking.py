"""Generate completions of several tasks: find missing ones, open the model if there are any, and go task by task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.harness.folder import GENERATIONS, TASK, keep_latest, read_task, read_whole_batches
from evals.harness.generate import MOST_FAILED, Asker, generate
from evals.harness.identity import list_completions
from evals.harness.progress import Tell, ignore
from evals.harness.tasks import EvalTask
from evals.models.base import Model
from evals.verify.answers import AnswerStyle


def apply_settings(
    task: EvalTask,
    *,
    greedy: bool = True,
    samples: int | None = None,
    answers: AnswerStyle | None = None,
    **sampling: Any,
) -> EvalTask:
    """Return a task in which the user's settings replace its own.

    Args:
        task: The task; a task that ranks options has no such settings.
        greedy: Whether each problem is answered greedily.
        samples: k, the number of sampled answers per problem; None keeps the task's own.
        answers: Where an answer may be in a completion; None keeps the task's own.
        sampling: temperature, top_p or max_tokens; None keeps the task's own.

    Raises:
        ValueError: The settings request no completion.
    """
    if task.output == "choose":
        return replace(task, sampling=task.sampling.greedily())
    k = task.samples if samples is None else samples
    if not (greedy or k):
        raise ValueError(f"{task.name} samples no answers by itself: without greedy answers it asks nothing")
    how = replace(task.sampling, **{name: value for name, value in sampling.items() if value is not None})
    # Without samples, the temperature has no effect, so evaluations that differ only in it must be the same.
    how = how if k else how.greedily()
    return replace(task, greedy=greedy, samples=k, answers=answers or task.answers, sampling=how)


def generate_all(  # noqa: PLR0913 - tasks, model, folder, limits and callbacks
    tasks: Sequence[EvalTask],
    open_model: Callable[[], Model],
    out: Path,
    *,
    seed: int,
    most_failed: float = MOST_FAILED,
    begin: Callable[[EvalTask], None] = lambda _: None,
    tell: Tell = ignore,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Generate every completion of the tasks that ``out/<task>`` lacks; open the model only if any is missing.

    The lengths of all prompts are checked first, so that a prompt that is too long does not fail after hours of other
    tasks.

    Args:
        tasks: The tasks.
        open_model: Called if a completion is missing; the model is closed at the end.
        out: Folder that gets a folder for each task.
        seed: Seed of the sampling.
        most_failed: Largest share of a task's completions that may fail.
        begin: Called with each task before its first request.
        tell: Called after every batch.
        stop: Called before every batch.

    Returns:
        Whether all completions were requested; False if `stop` returned True before.

    Raises:
        EvaluationError: A folder belongs to another evaluation or is in use, or too many completions failed.
        ModelError: The model cannot be opened, or does not support what a task needs.
    """
    pending = [task for task in tasks if not complete(out / task.name)]
    if not pending:
        return True
    with asyncio.Runner() as runner:
        model = open_model()
        try:
            for task in pending:
                if task.output == "generate":
                    model.check([model.prompt(problem.prompt) for problem in task.problems], task.sampling)
            for task in pending:
                begin(task)
                asker = Asker(model, seed, runner)
                if not generate(task, asker, out / task.name, most_failed=most_failed, tell=tell, stop=stop):
                    return False
        finally:
            runner.run(model.close())
    return True


def complete(folder: Path) -> bool:
    """Return whether a task's folder has every completion; a failed one does not count, because it may be retried."""
    if not (folder / TASK).is_file():
        return False
    record = read_task(folder)
    lines = keep_latest(read_whole_batches(folder / GENERATIONS)[0]).values()
    came = sum(line["failure"] is None for line in lines)
    return came == len(record.asked) * len(list_completions(record.identity))
