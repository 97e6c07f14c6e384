"""A study's results in a notebook: tidy frames, the answer, comparisons and figures. Files are read when asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.analysis import frames
from capo_bench.analysis.answer import Answer, answer
from capo_bench.analysis.collect import Results, collect
from capo_bench.analysis.summary import Summary, summarise
from capo_bench.run.studies import StudyChoice, plan_as_run
from capo_bench.store.home import Home

if TYPE_CHECKING:
    import pandas as pd

    from capo_bench.pages.svg import Figure
    from capo_bench.study.plan import Plan


def load(
    study: str | Path,
    profile: str | None = None,
    *,
    home: str | Path | None = None,
    sets: Sequence[str] = (),
    only: Sequence[str] = (),
) -> StudyResults:
    """Return what a study has left so far.

    Args:
        study: Name of a study in the results folder, which stands for the plan that was last run, or of a shipped one,
            or a file.
        profile: Its profile; by default the one that was last run, or quick.
        home: The results folder; by default that of ``CAPO_BENCH_HOME``, or ``results``.
        sets: ``"key=value"`` settings, as for ``--set``; with any, the plan is made anew.
        only: Globs on variants and ``"seed=1"``, as for ``--only``.

    Raises:
        StudyErrors: All that is wrong with the study and the arguments.
        RunError: The plan that was last run cannot be read.
    """
    results = Home(Path(home or os.environ.get("CAPO_BENCH_HOME") or "results"))
    return StudyResults(plan_as_run(StudyChoice(str(study), profile, sets, only), results), results)


class StudyResults:
    """A study's results; each part is read once, when it is first asked for.

    Raises:
        DamagedFileError: A finished trial's file cannot be read (from any part).
    """

    def __init__(self, plan: Plan, home: Home) -> None:
        self.plan, self.home = plan, home

    def __repr__(self) -> str:
        done = len(self.results.all_runs())
        return f"<study {self.plan.study}, profile {self.plan.profile}: {done} of {len(self.plan.trials)} trials done>"

    @cached_property
    def results(self) -> Results:
        """What the finished trials left, as `capo_bench.analysis` works on it."""
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
        """Planned trials: method, what the variant sets, whether it is done."""
        return frames.trials(self.results)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Final metrics, one a row."""
        return frames.metrics(self.results)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores of single problems on the metrics that the study asks about."""
        return frames.scores(self.results)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Costs of trials, one a column."""
        return frames.costs(self.results)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Records of optimizer steps, one number a column."""
        return frames.curves(self.results)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Answers of the evaluations."""
        return frames.samples(self.results)

    @cached_property
    def rollouts(self) -> pd.DataFrame:
        """Stored rollouts of training."""
        return frames.rollouts(self.results)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """Steps of stored rollouts, with votes, rewards and advantages."""
        return frames.steps(self.results)

    @cached_property
    def critiques(self) -> pd.DataFrame:
        """Critiques of stored rollouts."""
        return frames.critiques(self.results)

    def compare(self, *variants: str, baseline: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Compare variants with a baseline by paired differences over shared seeds and problems.

        Args:
            variants: Which; all others than baseline and start where none is named.
            baseline: With which; by default that of the study (`Plan.baseline_of`).
            metric: On which metric; by default the study's first.

        Returns:
            A row for each variant: difference with the ends of its 95 % interval, p, p adjusted by Holm over the rows,
            seeds and problems; differences of shares are shares.

        Raises:
            ValueError: A variant or the metric is not in the study; names what is.
        """
        return frames.comparison(self.results, variants, baseline, metric or self.results.primary)

    def figure(self, name: str = "differences") -> Figure:
        """Return a figure of the report by its name, which a notebook shows as it stands.

        Raises:
            ValueError: There is no such figure; names those that there are.
        """
        from capo_bench.pages.figures import figures

        drawn = {figure.name: figure for figure in figures(self.summary, self.results)}
        if name not in drawn:
            raise ValueError(f"no figure {name!r}; figures of this study: {', '.join(drawn) or 'none'}")
        return drawn[name]
