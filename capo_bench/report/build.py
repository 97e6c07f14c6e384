"""Everything a report shows, put together once and then only rendered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.home import Home
from capo_bench.report.answer import Answer, answer
from capo_bench.report.canvas import Figure
from capo_bench.report.collect import Results, collect
from capo_bench.report.critics import Critics, critics
from capo_bench.report.examples import Example, examples
from capo_bench.report.figures import figures
from capo_bench.report.paper import beside
from capo_bench.report.provenance import Provenance, provenance
from capo_bench.report.summary import Summary, summarise
from capo_bench.report.tables import Table, power_table, tables

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


class NothingToReportError(ValueError):
    """No trial of the study has finished."""


@dataclass(frozen=True)
class Report:
    """A study's report before it is rendered; `digests` is the folder of what it need not work out again."""

    results: Results
    summary: Summary
    answer: Answer
    tables: list[Table]
    power: Table
    examples: list[Example]
    critics: Critics
    provenance: Provenance
    digests: Path

    @cached_property
    def figures(self) -> list[Figure]:
        """The figures, drawn when they are asked for: who only reads the answer does not wait for them."""
        kept = self.digests / f"{self.summary.name}.figures.json"
        return figures(self.summary, self.results, self.critics.points, kept)


def build_report(plan: Plan, home: Home) -> Report:
    """Collect a study's results and work out its report.

    Raises:
        NothingToReportError: No trial has finished.
        DamagedFileError: A finished trial's file cannot be read.
    """
    digests = home.digests
    results = collect(plan, home, digests=digests)
    summary = summarise(results)
    if not summary.finished:
        raise NothingToReportError(
            f"nothing to report: none of the {summary.planned} trials of study {summary.name!r} "
            f"(profile {summary.profile!r}) has finished under {home.path}; run `capo-bench run` on it first, "
            "or name another results folder with --home"
        )
    return Report(
        results=results,
        summary=summary,
        answer=answer(summary),
        tables=[*tables(summary), *([theirs] if (theirs := beside(summary, plan.variants)) else [])],
        power=power_table(summary),
        examples=examples(results, digests / f"{plan.study}.examples.json"),
        critics=critics(results, digests / f"{plan.study}.critics.json"),
        provenance=provenance(results.all_runs()),
        digests=digests,
    )
