"""Everything a report shows, put together once and then only rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from capo_bench.analysis.answer import Answer, answer
from capo_bench.analysis.checklist import checklist
from capo_bench.analysis.collect import Results, collect
from capo_bench.analysis.critics import Critics, critics
from capo_bench.analysis.digest import paused_collector
from capo_bench.analysis.provenance import Provenance, provenance
from capo_bench.analysis.summary import Summary, summarise
from capo_bench.pages.critic_tables import critic_tables
from capo_bench.pages.figure import Figure
from capo_bench.pages.figures import figures, pick_variants
from capo_bench.pages.table import Table
from capo_bench.pages.tables import (
    checklist_table,
    cost_table,
    decoding_tables,
    first_table,
    metric_table,
    power_table,
    teaching_table,
)
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


FIRST_ROWS = 6
"""Variants that stand beside the answer, so that they fit a phone's first screen; all are below."""


class NothingToReportError(ValueError):
    """No trial of the study has finished."""


@dataclass(frozen=True)
class Report:
    """A study's report before it is rendered."""

    results: Results
    summary: Summary
    answer: Answer
    critics: Critics
    provenance: Provenance

    @cached_property
    def first(self) -> Table:
        """What stands beside the answer, of the variants that say most."""
        named = [row.variant for row, _ in self.summary.cells(self.summary.primary)]
        return first_table(self.summary, pick_variants(self.summary, named, FIRST_ROWS))

    @cached_property
    def tables(self) -> list[Table]:
        """One table a metric, the primary one first, and what was taught."""
        taught = teaching_table(self.results.all_runs())
        metrics = [metric_table(self.summary, metric) for metric in self.summary.metrics]
        return [table for table in (*metrics, taught) if table.rows]

    @cached_property
    def cost(self) -> Table:
        """What training costs."""
        return cost_table(self.summary)

    @cached_property
    def sharpening(self) -> list[Table]:
        """Whether gains are only sharpening."""
        return decoding_tables(self.summary)

    @cached_property
    def power(self) -> list[Table]:
        """What the comparisons could see; empty where nothing is compared."""
        return [table for table in [power_table(self.summary)] if table.rows]

    @cached_property
    def checklist(self) -> Table:
        """What a survey asks of such a study."""
        return checklist_table(checklist(self.summary, self.results))

    @cached_property
    def judges(self) -> list[Table]:
        """The critics' quality, agreement and cost."""
        return critic_tables(self.critics)

    @cached_property
    def figures(self) -> list[Figure]:
        """The figures."""
        return figures(self.summary, self.results, self.critics.votes)


def build_report(plan: Plan, home: Home) -> Report:
    """Collect a study's results and work out its report.

    Raises:
        NothingToReportError: No trial has finished.
        DamagedFileError: A finished trial's file cannot be read.
    """
    with paused_collector():
        results = collect(plan, home, digests=home.digests)
        summary = summarise(results)
        heard = critics(results, home.digests / f"{plan.study}.critics.json")
    if not summary.finished:
        raise NothingToReportError(
            f"nothing to report: none of the {summary.planned} trials of study {summary.name!r} "
            f"(profile {summary.profile!r}) has finished under {home.path}; run `capo-bench run` on it first, "
            "or name another results folder with --home"
        )
    answered = answer(summary)
    whole = replace(answered, cautions=(*answered.cautions, *heard.cautions))
    return Report(results, summary, whole, heard, provenance(results.all_runs()))
