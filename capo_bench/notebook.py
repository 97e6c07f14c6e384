"""Results of a study for notebooks: tidy frames, the answer, comparisons and figures. Files are read on demand.

Frames have one observation per row, after the columns `trial`, `variant` and `seed`. Shares are from 0 to 1; unknown
values are NaN or None. Steps of training, places in them and steps of a rollout count from 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.analysis.answer import Answer, answer
from capo_bench.analysis.collect import Results, Run, collect
from capo_bench.analysis.looks import estimate_difference
from capo_bench.analysis.measures import find_quantity, find_task
from capo_bench.analysis.stats import adjust_by_holm, lay_out
from capo_bench.analysis.summary import Summary, summarise
from capo_bench.run.studies import StudyChoice, plan_as_run
from capo_bench.store.home import Home
from capo_bench.store.records import read_records
from evals.registry import suggest_similar

if TYPE_CHECKING:
    import pandas as pd

    from capo_bench.analysis.rollouts import CreditedRollout
    from capo_bench.pages.svg import Figure
    from capo_bench.study.plan import Plan

Row = dict[str, Any]

_KEYS = ("trial", "variant", "seed")


def load(
    study: str | Path,
    profile: str | None = None,
    *,
    home: str | Path | None = None,
    sets: Sequence[str] = (),
    only: Sequence[str] = (),
) -> StudyResults:
    """Return the results that a study has so far.

    Args:
        study: Name of a study in the results folder (its last plan is used) or of a shipped study, or a path to a file.
        profile: Profile of the study; by default the profile of the last run, or quick.
        home: The results folder; by default the value of ``CAPO_BENCH_HOME``, or ``results``.
        sets: ``"key=value"`` settings, as for ``--set``. If there are any, the plan is built again from the file.
        only: Globs on variants and ``"seed=1"``, as for ``--only``.

    Raises:
        StudyErrors: The study or the arguments are invalid; lists all errors.
        RunError: The plan of the last run cannot be read.
    """
    results = Home(Path(home or os.environ.get("CAPO_BENCH_HOME") or "results"))
    return StudyResults(plan_as_run(StudyChoice(str(study), profile, sets, only), results), results)


class StudyResults:
    """Results of a study. Each part is read once, at its first use.

    Raises:
        DamagedFileError: A file of a finished trial cannot be read. Any part can raise it.
    """

    def __init__(self, plan: Plan, home: Home) -> None:
        self.plan, self.home = plan, home

    def __repr__(self) -> str:
        done = len(self.results.all_runs())
        return f"<study {self.plan.study}, profile {self.plan.profile}: {done} of {len(self.plan.trials)} trials done>"

    @cached_property
    def results(self) -> Results:
        """The files of the finished trials, in the form that `capo_bench.analysis` uses."""
        return collect(self.plan, self.home, digests=self.home.digests)

    @cached_property
    def summary(self) -> Summary:
        """Every number of the report."""
        return summarise(self.results)

    @cached_property
    def answer(self) -> Answer:
        """The answer to the study's question, in sentences."""
        return answer(self.summary)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each planned trial: whether it is done, its method, and what its variant sets."""
        plan, missing = self.results.plan, {trial.id for trial in self.results.missing}
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

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row for each metric of each finished trial: `metric` as ``task/quantity``, both apart, and `value`."""
        import pandas as pd

        rows = [
            (run.trial.id, run.trial.variant, run.trial.seed, name, find_task(name), find_quantity(name), value)
            for run in self.results.all_runs()
            for name, value in run.shares.items()
        ]  # plain tuples: there are many
        return pd.DataFrame(rows, columns=[*_KEYS, "metric", "task", "quantity", "value"])

    @cached_property
    def costs(self) -> pd.DataFrame:
        """A row for each finished trial and a column for each cost: seconds, tokens, critiques, FLOPs."""
        return self._of_runs(lambda run: [dict(run.cost)], ())

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The score of each problem on each metric that the study asks about, linearised (`analysis.scores`)."""

        def rows(run: Run) -> Iterator[Row]:
            for metric, of_problems in run.scores.items():
                for problem, score in of_problems.items():
                    yield {"metric": metric, "problem": problem, "score": score}

        return self._of_runs(rows, ("metric", "problem", "score"))

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row for each optimizer step of each finished trial and a column for each number that it recorded."""
        return self._of_runs(lambda run: read_records(run.folder.steps) if run.folder.steps.exists() else (), ("step",))

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row for each answer of each evaluation: task, problem, decoding, completion, whether it is right."""

        def rows(run: Run) -> Iterator[Row]:
            for path in sorted(run.folder.evaluation.glob("*/samples.jsonl")):
                yield from ({"task": path.parent.name, **record} for record in read_records(path))

        return self._of_runs(rows, ("task", "problem", "decoding", "sample", "completion", "correct"))

    @cached_property
    def rollouts(self) -> pd.DataFrame:
        """A row for each stored rollout: its problem, text and outcome, and what was voted on its steps."""
        columns = ("group", "problem", "answer", "text", "tokens", "outcome", "voters", "flagged", "split", "advantage")
        return self._of_rollouts(lambda rollout: [_build_rollout_row(rollout)], columns)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """A row for each step of each stored rollout: its text, its votes or score, its reward and advantage."""
        columns = ("number", "text", "tokens", "wrong", "votes", "voters", "charged", "reward", "advantage")
        return self._of_rollouts(_build_step_rows, columns)

    @cached_property
    def critiques(self) -> pd.DataFrame:
        """A row for each critique: which steps it flags, why it abstained, its words and tokens."""
        columns = ("number", "flags", "abstained", "text", "prompt_tokens", "output_tokens", "reused")
        return self._of_rollouts(_build_critique_rows, columns)

    def _of_rollouts(self, rows: Callable[[CreditedRollout], Iterable[Row]], columns: tuple[str, ...]) -> pd.DataFrame:
        """Return the rows of all stored rollouts, each with the rollout's optimizer step and place in front."""
        from capo_bench.analysis.rollouts import read_credited

        def of(run: Run) -> Iterator[Row]:
            for step in read_credited(run.trial, run.folder):
                for credited in step.rollouts:
                    yield from ({"step": credited.step, "place": credited.place, **row} for row in rows(credited))

        return self._of_runs(of, ("step", "place", *columns))

    def _of_runs(self, rows: Callable[[Run], Iterable[Mapping[str, Any]]], columns: tuple[str, ...]) -> pd.DataFrame:
        """Return the rows of all finished trials, each with the trial's keys in front."""
        led = [
            {"trial": run.trial.id, "variant": run.trial.variant, "seed": run.trial.seed, **row}
            for run in self.results.all_runs()
            for row in rows(run)
        ]
        return _frame(led, (*_KEYS, *columns))

    def compare(self, *variants: str, baseline: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Compare variants with a baseline by paired differences over shared seeds and problems.

        Args:
            variants: Variants to compare; by default all except the baseline and the starting model.
            baseline: Variant to compare with; by default the baseline of the study (`Plan.baseline_of`).
            metric: Metric to compare on; by default the first metric of the study.

        Returns:
            One row for each variant: the difference, the ends of its 95 % interval, p, p adjusted by Holm over the
            rows, the number of seeds and of problems. Differences of shares are shares, not percent.

        Raises:
            ValueError: A variant or the metric is not in the study; lists the valid names.
        """
        metric = metric or self.results.primary
        _check_names("variant", [*variants, *([baseline] if baseline else [])], list(self.results.runs))
        _check_names("metric", [metric], self.results.metrics)
        laid = {name: lay_out(scored) for name in self.results.runs if (scored := self.results.scores(name, metric))}
        against = {name: baseline or self.results.plan.baseline_of(name) for name in variants or laid}
        starts = {self.results.plan.start_of(name) for name in laid}
        pairs = {
            name: (laid[name], laid[base])
            for name, base in against.items()
            if base in laid and name in laid and name != base and (variants or name not in starts)
        }
        changes = {name: estimate_difference(*both, self.results.plan.looks) for name, both in pairs.items()}
        adjusted = adjust_by_holm([change.p for change in changes.values()])
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

    def figure(self, name: str = "differences") -> Figure:
        """Return a figure of the report by name; a notebook displays it directly.

        Raises:
            ValueError: There is no such figure; lists the figures that exist.
        """
        from capo_bench.pages.figures import draw_figures

        drawn = {figure.name: figure for figure in draw_figures(self.summary, self.results)}
        if name not in drawn:
            raise ValueError(f"no figure {name!r}; figures of this study: {', '.join(drawn) or 'none'}")
        return drawn[name]


def _build_rollout_row(credited: CreditedRollout) -> Row:
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


def _build_step_rows(credited: CreditedRollout) -> Iterator[Row]:
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


def _build_critique_rows(credited: CreditedRollout) -> Iterator[Row]:
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


def _frame(rows: list[Row], columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a frame that has these columns first, also without any row."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    rest = [name for name in frame.columns if name not in columns]
    return frame.reindex(columns=[*columns, *rest])


def _check_names(kind: str, names: Sequence[str], choices: Sequence[str]) -> None:
    for name in names:
        if name not in choices:
            raise ValueError(f"no {kind} {name!r}{suggest_similar(name, list(choices))}; known: {', '.join(choices)}")
