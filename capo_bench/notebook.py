"""Results of a study for notebooks: tidy frames, the answer, comparisons and figures. Files are read on demand."""

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
        """Planned trials: method, settings of the variant, whether the trial is done."""
        return frames.trials(self.results)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Final metrics, one per row."""
        return frames.metrics(self.results)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores of individual problems on the metrics of the study's question."""
        return frames.scores(self.results)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """Costs of trials, one per column."""
        return frames.costs(self.results)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Records of optimizer steps, one value per column."""
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
            variants: Variants to compare; by default all except the baseline and the starting model.
            baseline: Variant to compare with; by default the baseline of the study (`Plan.baseline_of`).
            metric: Metric to compare on; by default the first metric of the study.

        Returns:
            One row for each variant: the difference, the ends of its 95 % interval, p, p adjusted by Holm over the
            rows, the number of seeds and of problems. Differences of shares are shares, not percent.

        Raises:
            ValueError: A variant or the metric is not in the study; lists the valid names.
        """
        return frames.comparison(self.results, variants, baseline, metric or self.results.primary)

    def figure(self, name: str = "differences") -> Figure:
        """Return a figure of the report by name; a notebook displays it directly.

        Raises:
            ValueError: There is no such figure; lists the figures that exist.
        """
        from capo_bench.pages.figures import figures

        drawn = {figure.name: figure for figure in figures(self.summary, self.results)}
        if name not in drawn:
            raise ValueError(f"no figure {name!r}; figures of this study: {', '.join(drawn) or 'none'}")
        return drawn[name]
