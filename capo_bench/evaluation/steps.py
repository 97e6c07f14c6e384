"""Steps of completions, judged by a critic with the prompt, parser, votes and cache of training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from capo_bench.critic.ask import AskProgress, CritiqueTerms, Round, critique_record
from capo_bench.critic.embedded import check_checkers, open_kept, prepare_critic
from capo_bench.critic.measure import NoChecker
from capo_bench.critic.quality import Ballot, call_wrong
from capo_bench.evaluation.request import SEGMENTER, Judge
from capo_bench.evaluation.watch import Watch
from capo_bench.store.home import Home
from evals.benchmarks import BENCHMARKS, Benchmark
from evals.files import write_atomic
from evals.harness.folder import RESULT, read_samples, read_task, write_samples
from evals.harness.results import read_result, read_scoring_seconds, write_result
from evals.metrics import Sample
from trainers.credit.critique import Critique
from trainers.credit.segment import SEGMENTERS, list_step_texts
from trainers.credit.votes import build_flags
from trainers.critics.base import Critic, Solution, Surroundings

CRITIQUES = "critiques.jsonl"
OTHER_JUDGE = "take a language model as critic, or coins alone"


@dataclass(frozen=True)
class _JudgedTask:
    """A task whose samples are judged; `places` are those of samples that did not fail."""

    folder: Path
    checker: str | None
    samples: list[Sample]
    places: list[int]
    solutions: list[Solution]


def cut(text: str) -> tuple[str, ...]:
    """Cut a completion into the texts of its steps."""
    return list_step_texts(text, SEGMENTERS.get(SEGMENTER)(text))


def judge_steps(folders: Sequence[Path], judge: Judge, home: Home, watch: Watch) -> None:
    """Ask a critic about all completions of scored tasks, and write samples and results with its verdicts.

    Critics that draw do so with the seed of the evaluation.

    Raises:
        RunError: The critic cannot be served.
        RefusedError: The critic cannot be opened, or asks a checker that a task lacks.
        TooManyAbstainedError: Too many critiques are without a verdict.
    """
    works = [_read_work(folder) for folder in folders]
    works = [work for work in works if work.solutions]
    check_checkers(judge.params, {work.folder.name: work.checker for work in works}, OTHER_JUDGE)
    seed = read_task(folders[0]).identity["seed"]
    groups: dict[str | None, list[_JudgedTask]] = {}
    for work in works:
        # One critic for all tasks, unless it asks a checker, which is a benchmark's own.
        groups.setdefault(work.checker if judge.params.asks_checker else None, []).append(work)
    with prepare_critic(judge.params, home, watch.emit) as embedded:
        for checker, mine in groups.items():
            benchmark: Benchmark = NoChecker("these tasks") if checker is None else BENCHMARKS.get(checker)
            critic = open_kept(judge.params, Surroundings(benchmark, seed, embedded), home)
            _judge_group(mine, judge, critic, watch.critic)


def _read_work(folder: Path) -> _JudgedTask:
    record, samples = read_task(folder), read_samples(folder)
    problems = {asked.problem.id: asked.problem for asked in record.asked}
    chosen = record.identity["output"] == "choose"
    places = [] if chosen else [i for i, sample in enumerate(samples) if sample["status"] != "failed"]
    solutions = [Solution(problems[samples[i]["problem"]], cut(samples[i]["completion"])) for i in places]
    return _JudgedTask(folder, record.checker, samples, places, solutions)


def _judge_group(
    works: Sequence[_JudgedTask], judge: Judge, critic: Critic, tell: Callable[[AskProgress], None]
) -> None:
    greedy = judge.vote.alone
    solutions = [solution for work in works for solution in work.solutions]
    terms = CritiqueTerms(0 if greedy else judge.critiques, greedy, judge.max_abstained)
    asked = Round(critic, solutions, terms, tell).run()
    rows = iter(asked.greedy if greedy else asked.sampled)
    for work in works:
        mine = [next(rows) for _ in work.solutions]
        share = len(mine) / len(solutions)
        _write(work, judge, mine, asked.seconds * share)


def _write(work: _JudgedTask, judge: Judge, critiques: Sequence[Sequence[Critique]], seconds: float) -> None:
    samples = [_drop_verdicts(sample) for sample in work.samples]
    flags = build_flags(critiques, [len(solution.steps) for solution in work.solutions])
    called = call_wrong(flags, Ballot(judge.vote, judge.critiques))
    for place, wrong in zip(work.places, called, strict=True):
        samples[place]["wrong_steps"] = None if wrong is None else np.flatnonzero(wrong).tolist()
    before = read_result(work.folder)
    (work.folder / RESULT).unlink(missing_ok=True)  # it would be the result of other samples
    write_atomic(work.folder / CRITIQUES, "".join(_format_lines(work, critiques)))
    write_samples(work.folder, samples)
    scoring = {key: before.identity[key] for key in ("verifier", "segmenter")}
    write_result(
        work.folder,
        samples,
        {**scoring, "critic": judge.identity()},
        {**read_scoring_seconds(before), **_sum_cost(critiques, seconds)},
    )


def _sum_cost(critiques: Sequence[Sequence[Critique]], seconds: float) -> dict[str, float]:
    flat = list(chain.from_iterable(critiques))
    return {
        "critique_seconds": seconds,
        "critiques": len(flat),
        "abstained": sum(critique.wrong is None for critique in flat),
        "critic_tokens": sum(critique.usage.prompt_tokens + critique.usage.output_tokens for critique in flat),
    }


def _drop_verdicts(sample: Sample) -> Sample:
    kept: Any = {key: value for key, value in sample.items() if key not in {"wrong_steps", "follow_steps"}}
    return kept  # type: ignore[no-any-return]


def _format_lines(work: _JudgedTask, critiques: Sequence[Sequence[Critique]]) -> Iterator[str]:
    for place, row in zip(work.places, critiques, strict=True):
        sample = work.samples[place]
        which = {key: sample[key] for key in ("problem", "decoding", "sample")}
        yield json.dumps({**which, "critiques": list(map(critique_record, row))}) + "\n"
