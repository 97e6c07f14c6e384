"""Everything a report shows, put together once and then only rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from capo_bench.analysis.answer import Answer, answer
from capo_bench.analysis.checklist import checklist
from capo_bench.analysis.collect import Results, collect
from capo_bench.analysis.critics import Critics, critics
from capo_bench.analysis.digest import paused_collector
from capo_bench.analysis.provenance import Provenance, provenance
from capo_bench.analysis.summary import Summary, summarise
from capo_bench.pages.critic_tables import critic_tables
from capo_bench.pages.figures import figures, pick_variants
from capo_bench.pages.svg import Figure
from capo_bench.pages.tables import (
    checklist_table,
    cost_table,
    decoding_tables,
    first_table,
    metric_table,
    power_table,
    teaching_table,
)
from capo_bench.pages.text import Table
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


FIRST_ROWS = 6
"""Variants that stand beside the answer, so that they fit a phone's first screen; all are below."""


class NothingToReportError(RunError, ValueError):
    """No trial of the study has finished."""


@dataclass(frozen=True)
class Report:
    """A study's report before it is rendered."""

    results: Results
    summary: Summary
    answer: Answer
    critics: Critics
    provenance: Provenance
    first: Table
    tables: list[Table]
    cost: Table
    sharpening: list[Table]
    power: list[Table]
    judges: list[Table]
    checklist: Table
    figures: list[Figure]

    @property
    def every_table(self) -> list[Table]:
        """All tables of numbers, in the order of the page."""
        return [*self.tables, *self.sharpening, *self.power, *self.judges, self.cost]


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
    answered, runs = answer(summary), results.all_runs()
    named = [row.variant for row, _ in summary.cells(summary.primary)]
    metrics = [metric_table(summary, metric) for metric in summary.metrics]
    return Report(
        results=results,
        summary=summary,
        answer=replace(answered, cautions=(*answered.cautions, *heard.cautions)),
        critics=heard,
        provenance=provenance(runs),
        first=first_table(summary, pick_variants(summary, named, FIRST_ROWS)),
        tables=[table for table in (*metrics, teaching_table(runs)) if table.rows],
        cost=cost_table(summary),
        sharpening=decoding_tables(summary),
        power=[table for table in [power_table(summary)] if table.rows],
        judges=critic_tables(heard),
        checklist=checklist_table(checklist(summary, results)),
        figures=figures(summary, results, heard.votes),
    )
