"""Load the tasks that the harness runs: lm-eval's YAMLs of `evals.tasks`, loaded by lm-eval's own TaskManager."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from evals.benchmarks import Problem
from evals.models.base import Sampling
from evals.models.local import hide_hints
from evals.models.prompt import INSTRUCTION
from evals.tasks import find_task_file, list_task_names
from evals.tasks.canonical import get_form
from evals.tasks.identity import describe_sampled
from evals.tasks.row_settings import TestRows
from evals.tasks.rows import DataErrors, Flaws
from evals.verify.answers import DEFAULT_STYLE, AnswerStyle


@dataclass(frozen=True)
class EvalTask:
    """One task with its problems.

    Attributes:
        name: Short name, e.g. ``math500``; its name in lm-eval is ``capo_math500``.
        version: Version of the task's YAML, prompt and processing.
        output: ``generate`` (completions are verified) or ``choose`` (options are scored by log-likelihood).
        samples: k, the number of sampled completions per problem, unless the user sets another number; 0 samples none.
        checker: Registered benchmark that checks steps exactly; None if there is none.
        data: Content fingerprint of the problems.
        source: Origin of the problems: dataset, configuration, split and revision, or the local file.
        queries: For ``choose``: (context, continuations) of each problem, in order.
        answers: Where an answer may be in a completion, unless the user sets it; ``metadata.answers`` of the YAML.
    """

    name: str
    version: str
    output: Literal["generate", "choose"]
    problems: tuple[Problem, ...]
    greedy: bool
    samples: int
    sampling: Sampling
    checker: str | None
    data: str
    source: str
    queries: tuple[tuple[str, tuple[str, ...]], ...] = ()
    answers: AnswerStyle = DEFAULT_STYLE


def load_tasks(
    names: Sequence[str],
    *,
    data_dir: Path | None = None,
    limit: int | None = None,
    own: Mapping[str, TestRows] | None = None,
) -> list[EvalTask]:
    """Load tasks and their problems.

    Args:
        names: Tasks and suites of `evals.tasks`.
        data_dir: If set, read the problems from ``<data_dir>/<folder of the benchmark>`` instead of from the hub.
        limit: Maximum number of problems per task. The sample is deterministic, and a larger limit extends it. Problems
            of coins are drawn, not stored: exactly `limit` are drawn, even more than 256.
        own: Test rows that a study defines, by their names in the study.

    Raises:
        UnknownNameError: A name is neither a task nor a suite.
        DataErrors: All errors in the data of all tasks.
    """
    from lm_eval.tasks import TaskManager

    own = own or {}
    metadata: dict[str, Any] = {} if data_dir is None else {"data_dir": str(data_dir)}
    metadata |= {"problems": limit} if limit else {}
    flaws: Flaws = []
    tasks = []
    for name in list_task_names(names, own):
        rows = {"own_task": name, "rows": own[name].model_dump(mode="json")} if name in own else {}
        try:
            with hide_hints():
                manager = TaskManager(include_defaults=False, metadata={**metadata, **rows})
                (task,) = manager.load([str(find_task_file(name))])["tasks"].values()
            tasks.append(_read(name, task, limit))
        except DataErrors as errors:
            flaws += errors.flaws
    if flaws:
        raise DataErrors(list(dict.fromkeys(flaws)))
    return tasks


def sample(docs: Sequence[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """Return at most `limit` docs, in their order: those with the lowest hashes of their ids.

    The first rows are not a representative sample, because rows are grouped by subject or sorted by difficulty.
    """
    if limit is None or limit >= len(docs):
        return list(docs)
    by_hash = sorted(range(len(docs)), key=lambda place: sha256(docs[place]["id"].encode()).digest())
    return [docs[place] for place in sorted(by_hash[:limit])]


def _read(name: str, task: Any, limit: int | None) -> EvalTask:
    """Convert lm-eval's task to an `EvalTask`."""
    docs = sample(list(task.task_docs), limit)
    config, asked = task.config, [task.doc_to_text(doc) for doc in docs]
    choose = config.output_type == "multiple_choice"
    wanted = config.generation_kwargs or {}
    drawn = describe_sampled(config.repeats, wanted)
    return EvalTask(
        name=name,
        version=str(task.VERSION),
        output="choose" if choose else "generate",
        problems=tuple(
            # The model's template adds the instruction.
            Problem(doc["id"], text.removeprefix(INSTRUCTION), doc["answer"], get_form(doc))
            for doc, text in zip(docs, asked, strict=True)
        ),
        greedy=True,
        samples=drawn.samples,
        sampling=Sampling(drawn.temperature, drawn.top_p, wanted.get("max_gen_toks", 0)),
        checker=config.metadata.get("checker"),
        answers=config.metadata.get("answers", DEFAULT_STYLE),
        data=_hash(docs),
        source=getattr(task.dataset[config.test_split], "source", config.dataset_path),  # lm-eval loaded it
        queries=tuple(_make_query(task, doc, text) for doc, text in zip(docs, asked, strict=True)) if choose else (),
    )


def _make_query(task: Any, doc: dict[str, Any], context: str) -> tuple[str, tuple[str, ...]]:
    requests = task.construct_requests(doc=doc, ctx=context)
    return context, tuple(request.args[1] for request in requests)


def _hash(docs: Sequence[dict[str, Any]]) -> str:
    return sha256(json.dumps(docs, sort_keys=True).encode()).hexdigest()[:12]
