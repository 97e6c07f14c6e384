"""Several tasks of one model: what is still owed is found before the model is opened, and asked task by task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.harness.folder import GENERATIONS, TASK, latest, read_task, whole_batches
from evals.harness.generate import MOST_FAILED, Asker, generate
from evals.harness.identity import completions_of_each
from evals.harness.progress import Tell, silent
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
    """Return a task with the user's wishes in place of its own settings.

    Args:
        task: The task; options that are ranked leave nothing to wish for.
        greedy: Whether each problem is answered greedily.
        samples: k, sampled answers of each problem; None leaves the task's own.
        answers: Where an answer may stand in a completion; None leaves it to the task.
        sampling: temperature, top_p or max_tokens; those that are None are left as they are.

    Raises:
        ValueError: Nothing is left to ask.
    """
    if task.output == "choose":
        return replace(task, sampling=task.sampling.greedily())
    k = task.samples if samples is None else samples
    if not (greedy or k):
        raise ValueError(f"{task.name} has no sampled answers of its own, and without greedy ones nothing is left")
    how = replace(task.sampling, **{name: value for name, value in sampling.items() if value is not None})
    # Two evaluations that draw nothing are one, whatever temperature they would have drawn at.
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
    tell: Tell = silent,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Ask for every completion of the tasks that ``out/<task>`` does not hold yet; no model is opened for none.

    All prompts are measured first: one that is too long would else be found after the hours of the tasks before.

    Args:
        tasks: What is asked.
        open_model: Called where something is owed; the model is closed at the end.
        out: Receives a folder for each task.
        seed: Decides the draws.
        most_failed: Share of a task's completions that may fail.
        begin: Told of a task before it is asked.
        tell: Called after every batch.
        stop: Asked before every batch.

    Returns:
        Whether everything was asked; False if `stop` said so first.

    Raises:
        EvaluationError: A folder holds another evaluation or is in use, or too many completions failed.
        ModelError: The model cannot be opened, or cannot do what a task asks.
    """
    owed = [task for task in tasks if not complete(out / task.name)]
    if not owed:
        return True
    with asyncio.Runner() as runner:
        model = open_model()
        try:
            for task in owed:
                if task.output == "generate":
                    model.check([model.prompt(problem.prompt) for problem in task.problems], task.sampling)
            for task in owed:
                begin(task)
                asker = Asker(model, seed, runner)
                if not generate(task, asker, out / task.name, most_failed=most_failed, tell=tell, stop=stop):
                    return False
        finally:
            runner.run(model.close())
    return True


def complete(folder: Path) -> bool:
    """Whether a task's folder holds every completion, none of them a failure that could be asked for again."""
    if not (folder / TASK).is_file():
        return False
    record = read_task(folder)
    known = latest(whole_batches(folder / GENERATIONS)[0]).values()
    came = sum(line["failure"] is None for line in known)
    return came == len(record.asked) * len(completions_of_each(record.identity))
