"""A study's results as tidy pandas frames: one observation a row, with `trial`, `variant` and `seed` in front.

Shares are from 0 to 1; what is not known is NaN or None. Steps of training and places in them count from 1, steps of a
rollout from 1 as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capo_bench.analysis.collect import Results, Run
from capo_bench.analysis.looks import difference
from capo_bench.analysis.measures import quantity, task_of
from capo_bench.analysis.stats import holm, lay_out
from capo_bench.store.records import read_records
from evals.registry import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from capo_bench.analysis.rollouts import CreditedRollout

Row = dict[str, Any]

_KEYS = ("trial", "variant", "seed")
_ROLLOUT = (*_KEYS, "step", "place")


def trials(results: Results) -> pd.DataFrame:
    """Return a row for each planned trial: whether it is done, its method, and what its variant sets."""
    plan, missing = results.plan, {trial.id for trial in results.missing}
    variants = {variant.name: variant for variant in plan.variants}
    rows = [
        {
            **dict(zip(_KEYS, (trial.id, trial.variant, trial.seed), strict=True)),
            "done": trial.id not in missing,
            "method": trial.config.method,
            **variants[trial.variant].overrides,
        }
        for trial in plan.trials
    ]
    return _frame(rows, (*_KEYS, "done", "method"))


def metrics(results: Results) -> pd.DataFrame:
    """Return a row for each metric of each finished trial: `metric` as ``task/quantity``, both apart, and `value`."""
    import pandas as pd

    rows = [
        (run.trial.id, run.trial.variant, run.trial.seed, name, task_of(name), quantity(name), value)
        for run in results.all_runs()
        for name, value in run.shares.items()
    ]  # plain tuples: there are many
    return pd.DataFrame(rows, columns=[*_KEYS, "metric", "task", "quantity", "value"])


def costs(results: Results) -> pd.DataFrame:
    """Return a row for each finished trial and a column for each cost: seconds, tokens, critiques, FLOPs."""
    return _of_runs(results, lambda run: [dict(run.cost)], ())


def scores(results: Results) -> pd.DataFrame:
    """Return the score of each problem on each metric that the study asks about, linearised (`analysis.scores`)."""
    return _of_runs(
        results,
        lambda run: (
            {"metric": metric, "problem": problem, "score": score}
            for metric, of_problems in run.scores.items()
            for problem, score in of_problems.items()
        ),
        ("metric", "problem", "score"),
    )


def curves(results: Results) -> pd.DataFrame:
    """Return a row for each optimizer step of each finished trial and a column for each number that it recorded."""
    return _of_runs(results, lambda run: read_records(run.folder.steps) if run.folder.steps.exists() else (), ("step",))


def samples(results: Results) -> pd.DataFrame:
    """Return a row for each answer of each evaluation: task, problem, decoding, completion, whether it is right."""

    def of(run: Run) -> Iterator[Row]:
        for path in sorted(run.folder.evaluation.glob("*/samples.jsonl")):
            yield from ({"task": path.parent.name, **record} for record in read_records(path))

    return _of_runs(results, of, ("task", "problem", "decoding", "sample", "completion", "correct"))


def rollouts(results: Results) -> pd.DataFrame:
    """Return a row for each stored rollout: its problem, text and outcome, and what was voted on its steps."""
    columns = ("group", "problem", "answer", "text", "tokens", "outcome", "voters", "flagged", "split", "advantage")
    return _of_rollouts(results, lambda rollout: [_rollout(rollout)], columns)


def steps(results: Results) -> pd.DataFrame:
    """Return a row for each step of each stored rollout: its text, its votes or score, its reward and advantage."""
    columns = ("number", "text", "tokens", "wrong", "votes", "voters", "charged", "reward", "advantage")
    return _of_rollouts(results, _steps, columns)


def critiques(results: Results) -> pd.DataFrame:
    """Return a row for each critique: which steps it flags, why it abstained, its words and tokens."""
    columns = ("number", "flags", "abstained", "text", "prompt_tokens", "output_tokens", "reused")
    return _of_rollouts(results, _critiques, columns)


def _rollout(credited: CreditedRollout) -> Row:
    rollout = credited.rollout
    return {
        "group": rollout.group + 1,
        "problem": rollout.problem,
        "answer": rollout.answer,
        "text": rollout.text,
        "tokens": sum(rollout.tokens),
        "outcome": rollout.outcome,
        "voters": credited.voters,
        "flagged": None if credited.blamed is None else sum(credited.blamed),
        "split": credited.split,
        "advantage": credited.mean_advantage,
    }


def _steps(credited: CreditedRollout) -> Iterator[Row]:
    rollout = credited.rollout
    for place, (text, tokens) in enumerate(zip(rollout.steps, rollout.tokens, strict=True)):
        yield {
            "number": place + 1,
            "text": text,
            "tokens": tokens,
            "wrong": None if rollout.truth is None else place in rollout.truth,
            "votes": credited.votes[place] if credited.votes else None,
            "voters": credited.voters,
            "charged": None if credited.blamed is None else credited.blamed[place],
            "reward": credited.rewards[place],
            "advantage": credited.advantages[place],
        }


def _critiques(credited: CreditedRollout) -> Iterator[Row]:
    for number, critique in enumerate(credited.critiques, 1):
        yield {
            "number": number,
            "flags": None if critique.wrong is None else [step + 1 for step in sorted(critique.wrong)],
            "abstained": critique.abstained,
            "text": critique.text,
            "prompt_tokens": critique.usage.prompt_tokens,
            "output_tokens": critique.usage.output_tokens,
            "reused": critique.reused,
        }


def _of_rollouts(
    results: Results, rows: Callable[[CreditedRollout], Iterable[Row]], columns: tuple[str, ...]
) -> pd.DataFrame:
    from capo_bench.analysis.rollouts import read_credited

    def of(run: Run) -> Iterator[Row]:
        for step in read_credited(run.trial, run.folder):
            for credited in step.rollouts:
                yield from ({"step": credited.step, "place": credited.place, **row} for row in rows(credited))

    return _of_runs(results, of, (*_ROLLOUT[len(_KEYS) :], *columns))


def _of_runs(
    results: Results, rows: Callable[[Run], Iterable[Mapping[str, Any]]], columns: tuple[str, ...]
) -> pd.DataFrame:
    """Return the rows of all finished trials, each led by the trial's keys."""
    led = [
        {"trial": run.trial.id, "variant": run.trial.variant, "seed": run.trial.seed, **row}
        for run in results.all_runs()
        for row in rows(run)
    ]
    return _frame(led, (*_KEYS, *columns))


def _frame(rows: list[Row], columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a frame that has these columns first, also without any row."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    rest = [name for name in frame.columns if name not in columns]
    return frame.reindex(columns=[*columns, *rest])


def comparison(results: Results, variants: Sequence[str], baseline: str | None, metric: str) -> pd.DataFrame:
    """Return paired differences of variants to a baseline; see `capo_bench.notebook.Study.compare`.

    Raises:
        ValueError: A variant or the metric is not in the study; names what is.
    """
    _check_names("variant", [*variants, *([baseline] if baseline else [])], list(results.runs))
    _check_names("metric", [metric], results.metrics)
    laid = {name: lay_out(scored) for name in results.runs if (scored := results.scores(name, metric))}
    against = {name: baseline or results.plan.baseline_of(name) for name in variants or laid}
    starts = {results.plan.start_of(name) for name in laid}
    pairs = {
        name: (laid[name], laid[base])
        for name, base in against.items()
        if base in laid and name in laid and name != base and (variants or name not in starts)
    }
    changes = {name: difference(*both, results.plan.looks) for name, both in pairs.items()}
    adjusted = holm([change.p for change in changes.values()])
    rows = [
        {
            "variant": name,
            "baseline": against[name],
            "metric": metric,
            "difference": change.mean,
            **{part: getattr(change, part) for part in ("low", "high", "p", "seeds", "problems")},
            "holm_p": p,
        }
        for (name, change), p in zip(changes.items(), adjusted, strict=True)
    ]
    return _frame(rows, ("variant", "baseline", "metric", "difference", "low", "high", "p", "holm_p"))


def _check_names(kind: str, names: Sequence[str], choices: Sequence[str]) -> None:
    for name in names:
        if name not in choices:
            raise ValueError(f"no {kind} {name!r}{did_you_mean(name, list(choices))}; known: {', '.join(choices)}")
