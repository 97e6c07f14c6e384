"""An evaluation from its request to its results: generate, score, judge steps. Each stage resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.critic.embedded import check_checkers
from capo_bench.evaluation.request import SEGMENTER, EvaluationRequest, Judge, compute_identity
from capo_bench.evaluation.steps import OTHER_JUDGE, cut, judge_steps
from capo_bench.evaluation.watch import Watch
from capo_bench.run.devices import count_cores
from capo_bench.store.errors import RefusedError
from capo_bench.store.evaluations import Evaluated, EvaluationFiles, find_evaluation, find_folder, read_record
from capo_bench.store.home import Home, write_json
from capo_bench.store.lock import hold_lock
from capo_bench.study.identity import hash_plain
from evals.harness.asking import apply_settings, complete, generate_all
from evals.harness.identity import EvaluationError
from evals.harness.results import read_result
from evals.harness.score import score
from evals.verify import VERIFIER_VERSION, Verifier

if TYPE_CHECKING:
    from evals.harness.tasks import EvalTask


Finish = Callable[[Evaluated], None]
"""Writes all that follows from an evaluation's results, before `results.json` marks it as complete."""


def evaluate(
    request: EvaluationRequest, home: Home, watch: Watch, finish: Finish = lambda evaluated: None
) -> Evaluated:
    """Run an evaluation, or resume it.

    Raises:
        RefusedError: The request contradicts itself.
        DataErrors: All errors in the data of the tasks.
        ModelError: The model cannot be opened, or cannot do what a task asks.
        EvaluationError: A stage cannot go on.
        TooManyAbstainedError: Too many critiques are without a verdict.
        RunError: Another process works on this evaluation.
    """
    tasks, files, record = _prepare(request, home)
    with hold_lock(files.lock, "evaluation"):
        _begin(files, record)
        _generate(request, tasks, files, watch)
        _score(files, record["tasks"], request.judge, home, watch)
        return _write(files, record, finish)


def rescore(request: EvaluationRequest, home: Home, watch: Watch, finish: Finish = lambda evaluated: None) -> Evaluated:
    """Score an evaluation again from its files; no model is loaded.

    The evaluation is the one whose id or folder is given as the model, or the one of the request.

    Raises:
        RefusedError: There is no such evaluation.
        EvaluationError: Completions are missing.
        TooManyAbstainedError: Too many critiques are without a verdict.
        RunError: Another process works on this evaluation.
    """
    files = find_evaluation(request.word, home, by_name=not request.names)
    if files is None:
        files = _prepare(request, home)[1]
    if not files.record.is_file():
        raise RefusedError([f"{files.folder}: there is no such evaluation; leave out --rescore to make it"])
    record = read_record(files)
    with hold_lock(files.lock, "evaluation"):
        _score(files, record["tasks"], request.judge, home, watch, again=True)
        return _write(files, record, finish)


def _prepare(request: EvaluationRequest, home: Home) -> tuple[list[EvalTask], EvaluationFiles, dict[str, Any]]:
    from evals.harness.tasks import load_tasks

    loaded = load_tasks(request.tasks, data_dir=request.data_dir, limit=request.limit)
    _check(request, loaded)
    fixed: dict[str, Any] = {"greedy": request.greedy, "samples": request.samples, "answers": request.answers}
    tasks = [apply_settings(task, **fixed, **request.sampling) for task in loaded]
    whole = compute_identity(request, tasks)
    name = hash_plain(whole)
    record: dict[str, Any] = {
        "id": name,
        "model": request.word,
        "names": list(request.names),
        "tasks": [task.name for task in tasks],
        "sources": {task.name: task.source for task in tasks},
        "identity": whole,
    }
    return tasks, find_folder(name, request.word, request.names, home), record


def _check(request: EvaluationRequest, tasks: Sequence[EvalTask]) -> None:
    if request.judge is not None:
        checkers = {task.name: task.checker for task in tasks if task.output == "generate"}
        check_checkers(request.judge.params, checkers, OTHER_JUDGE)
    made = [task for task in tasks if task.output == "generate"]
    drawn = {task.name for task in made if (task.samples if request.samples is None else request.samples)}
    if idle := [] if request.greedy else [task.name for task in made if task.name not in drawn]:
        problem = f"--no-greedy leaves no answers of {', '.join(idle)}, which samples none"
        raise RefusedError([f"{problem}; set -k, or leave out --no-greedy"])
    if "temperature" in request.sampling and made and not drawn:
        problem = f"--temperature {request.sampling['temperature']:g}: no answers are sampled"
        raise RefusedError([f"{problem}, and greedy ones have no temperature; set -k, or leave out --temperature"])


def _begin(files: EvaluationFiles, record: dict[str, Any]) -> None:
    from capo_bench.store.provenance import describe_environment

    files.results.unlink(missing_ok=True)
    write_json(files.record, record)
    # Provenance of the run that asked the model, not of later runs that only score or show its completions.
    if not all(complete(files.task(task)) for task in record["tasks"]):
        write_json(files.provenance, describe_environment())


def _generate(request: EvaluationRequest, tasks: Sequence[EvalTask], files: EvaluationFiles, watch: Watch) -> None:
    from evals.models.open import open_model

    generate_all(
        tasks,
        lambda: open_model(request.spec),
        files.tasks,
        seed=request.seed,
        most_failed=request.most_failed,
        tell=watch.stage,
    )


def _score(  # noqa: PLR0913 - what is scored, by whom, where, and whom to tell
    files: EvaluationFiles, tasks: Sequence[str], judge: Judge | None, home: Home, watch: Watch, *, again: bool = False
) -> None:
    wanted = {"verifier": VERIFIER_VERSION, "segmenter": SEGMENTER, "critic": judge.identity() if judge else None}
    folders = [files.task(task) for task in tasks]
    pending = [folder for folder in folders if again or not _is_scored(folder, wanted)]
    with Verifier(count_cores()) if pending else nullcontext() as verifier:
        for folder in pending:
            assert verifier is not None
            score(folder, verifier=verifier, cut=cut, segmenter=SEGMENTER, tell=watch.stage)
    if judge is not None and pending:
        judge_steps(pending, judge, home, watch)


def _is_scored(folder: Path, wanted: dict[str, Any]) -> bool:
    """Return whether a task has a result with this scoring; ranked options have no steps for a critic."""
    try:
        scored = read_result(folder).identity
    except EvaluationError:
        return False
    critic = wanted["critic"] if scored["output"] == "choose" else scored.get("critic")
    return {**scored, "critic": critic}.items() >= wanted.items()


def _write(files: EvaluationFiles, record: dict[str, Any], finish: Finish) -> Evaluated:
    if not files.provenance.is_file():
        write_json(files.provenance, {"git": {"commit": None, "dirty": None}})  # it is lost: today's would be wrong
    evaluated = Evaluated(files, record, [read_result(files.task(task)) for task in record["tasks"]])
    finish(evaluated)
    results = {result.task: asdict(result) for result in evaluated.results}
    write_json(files.results, {**evaluated.record, "results": results})
    return evaluated
