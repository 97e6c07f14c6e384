"""Several tasks of one model: look which completions are missing, open the model if any are, and ask task by task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.harness.folder import GENERATIONS, TASK, keep_latest, read_task, whole_batches
from evals.harness.generate import MOST_FAILED, Asker, generate
from evals.harness.identity import list_completions
from evals.harness.progress import Tell, ignore
from evals.harness.tasks import EvalTask
from evals.models.base import Model
from evals.verify.answers import AnswerStyle


def as_wanted(
    task: EvalTask,
    *,
    greedy: bool = True,
    samples: int | None = None,
    answers: AnswerStyle | None = None,
    **sampling: Any,
) -> EvalTask:
    """Return a task in which the user's settings replace its own.

    Args:
        task: The task; one that ranks options has no such settings.
        greedy: Whether each problem is answered greedily.
        samples: k, sampled answers of each problem; None keeps the task's own.
        answers: Where an answer may stand in a completion; None keeps the task's own.
        sampling: temperature, top_p or max_tokens; those that are None are kept.

    Raises:
        ValueError: Nothing is left to ask.
    """
    if task.output == "choose":
        return replace(task, sampling=task.sampling.greedily())
    k = task.samples if samples is None else samples
    if not (greedy or k):
        raise ValueError(f"{task.name} samples no answers by itself: without greedy answers it asks nothing")
    how = replace(task.sampling, **{name: value for name, value in sampling.items() if value is not None})
    # Without samples the temperature has no effect: two evaluations that differ in it are one.
    how = how if k else how.greedily()
    return replace(task, greedy=greedy, samples=k, answers=answers or task.answers, sampling=how)


def generate_all(  # noqa: PLR0913 - what to ask, of whom, where to, how, and who is told
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
    """Ask for every completion of the tasks that ``out/<task>`` does not hold; open the model only if any is missing.

    All prompts are measured first, so that one that is too long fails before hours of other tasks.

    Args:
        tasks: What is asked.
        open_model: Called if a completion is missing; the model is closed at the end.
        out: Receives a folder for each task.
        seed: Decides the draws.
        most_failed: Share of a task's completions that may fail.
        begin: Called with a task before it is asked.
        tell: Called after every batch.
        stop: Called before every batch.

    Returns:
        Whether everything was asked; False if `stop` returned True before.

    Raises:
        EvaluationError: A folder holds another evaluation or is in use, or too many completions failed.
        ModelError: The model cannot be opened, or cannot do what a task asks.
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
    """Return whether a task's folder holds every completion; a failed one, which may be retried, does not count."""
    if not (folder / TASK).is_file():
        return False
    record = read_task(folder)
    lines = keep_latest(whole_batches(folder / GENERATIONS)[0]).values()
    came = sum(line["failure"] is None for line in lines)
    return came == len(record.asked) * len(list_completions(record.identity))
