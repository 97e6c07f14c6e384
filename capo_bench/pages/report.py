"""A study's report, worked out once, as a page: one sentence, one figure and one table first, all else below."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.analysis.answer import Answer, answer
from capo_bench.analysis.checklist import build_checklist
from capo_bench.analysis.collect import Results, collect
from capo_bench.analysis.critics import Critics, measure_critics
from capo_bench.analysis.digest import pause_collector
from capo_bench.analysis.provenance import Provenance, compare_provenance
from capo_bench.analysis.summary import Summary, summarise
from capo_bench.pages.critic_tables import build_critic_tables, list_critic_notes
from capo_bench.pages.figures import draw_differences, draw_figures, pick_variants
from capo_bench.pages.page import Page, Section, write_page
from capo_bench.pages.svg import Figure
from capo_bench.pages.tables import (
    CHECKLIST_NOTE,
    POWER_NOTE,
    build_checklist_table,
    build_decoding_tables,
    build_first_table,
    build_metric_table,
    build_teaching_table,
    cost_table,
    format_all_csv,
    power_table,
)
from capo_bench.pages.text import Table, select_with_rows, write_yaml
from capo_bench.store.errors import RunError
from capo_bench.store.home import Home
from evals.files import write_atomic

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

FIRST_ROWS = 6
"""Variants that stand beside the answer, so that they fit a phone's first screen; all are below."""

SHARPENING_NOTE = (
    "Greedy: temperature 0. avg@k, maj@k and pass@k: mean accuracy, vote, and at least one right answer, of k answers "
    "sampled at temperature T. More than sharpening: the greedy answers beat, beyond noise, the start's greedy answers "
    "and its majority of K. Only sharpening: the start's are as good (the interval leaves no room for an advantage as "
    "large as the gain), or from some k on the start's pass@k is above, beyond noise at the largest k: training has "
    "narrowed what the model can solve. Anything else, no gain and one seed among it, cannot be told. Intervals are "
    "95 % each."
)


class NothingToReportError(RunError, ValueError):
    """No trial of the study has finished."""


@dataclass(frozen=True)
class Report:
    """A study's report: what it rests on, and its page.

    Attributes:
        answer: Its cautions are all that there are, of origins and of critics as well.
    """

    results: Results
    summary: Summary
    answer: Answer
    critics: Critics
    provenance: Provenance

    @cached_property
    def page(self) -> Page:
        """All of it as a page; its answer, figure and table stand first."""
        return _report_page(self)


def build_report(plan: Plan, home: Home) -> Report:
    """Collect a study's results and work out its report.

    Raises:
        NothingToReportError: No trial has finished.
        DamagedFileError: A finished trial's file cannot be read.
    """
    with pause_collector():
        results = collect(plan, home, digests=home.digests)
        summary = summarise(results)
        heard = measure_critics(results, home.digests / f"{plan.study}.critics.json")
    if not summary.finished:
        raise NothingToReportError(
            f"nothing to report: none of the {summary.planned} trials of study {summary.plan.study!r} "
            f"(profile {summary.plan.profile!r}) has finished under {home.path}; run `capo-bench run` on it first, "
            "or name another results folder with --home"
        )
    answered, origin = answer(summary), compare_provenance(results.all_runs())
    cautions = (*origin.warnings, *answered.cautions, *heard.cautions)
    return Report(results, summary, replace(answered, cautions=cautions), heard, origin)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write a report into a folder, and return the paths of HTML, Markdown, table.csv and the figures."""
    page, text, *figures = write_page(report.page, folder)
    table = folder / "table.csv"
    write_atomic(table, format_all_csv(report.summary))
    return [page, text, table, *figures]


def _report_page(report: Report) -> Page:
    summary, answer = report.summary, report.answer
    start = f" · start {summary.plan.start}" if summary.plan.start else ""
    about = (
        f"Profile {summary.plan.profile} · {summary.finished} of {summary.planned} trials finished · baseline "
        f"{summary.reference}{start} · decided on {summary.primary}. Filled marks are beyond noise; cost is "
        "training's, over the baseline's."
    )
    named = pick_variants(summary, [row.variant for row, _ in summary.cells(summary.primary)], FIRST_ROWS)
    return Page(
        title=summary.plan.study,
        question=summary.plan.question,
        about=about,
        answer=answer.headline,
        figure=draw_differences(summary, named),
        table=build_first_table(summary, named),
        sections=_build_sections(report),
    )


def _build_sections(report: Report) -> list[Section]:
    summary, answer, results = report.summary, report.answer, report.results
    drawn = {figure.name: figure for figure in draw_figures(summary, results, report.critics.votes)}

    def named(*names: str) -> list[Figure]:
        return [drawn[name] for name in names if name in drawn]

    metrics = [build_metric_table(summary, metric) for metric in summary.plan.metrics]
    missing = [f"{variant}, seed {seed} ({trial})" for variant, seed, trial in summary.missing]
    return [
        Section("Read with care", answer.cautions),
        Section("The answer in full", (*answer.details, *answer.comparisons)),
        Section(
            "Results",
            tables=select_with_rows(*metrics, build_teaching_table(results.all_runs())),
            figures=named("differences", "learning_curves", "wrong_steps"),
            notes=_explain_reading(report),
        ),
        Section(
            "Is it only sharpening?",
            answer.sharpening,
            build_decoding_tables(summary),
            named("sharpening"),
            notes=[SHARPENING_NOTE],
        ),
        Section("Power", tables=select_with_rows(power_table(summary)), notes=[POWER_NOTE]),
        Section(
            "Critics",
            tables=build_critic_tables(report.critics),
            figures=named("precision_recall"),
            notes=list_critic_notes(report.critics),
        ),
        Section("Cost", tables=[cost_table(summary)], figures=named("cost")),
        Section(
            "Rollouts",
            [
                f"`capo-bench view {summary.plan.study}` writes rollouts.html: all rollouts of training that were "
                "kept, with their critiques and the credit of each token."
            ],
        ),
        Section("Missing trials", missing),
        Section("Provenance", tables=_list_origins(report.provenance), closed=True, apart=True),
        Section(
            "What a survey asks of such a study",
            tables=[build_checklist_table(build_checklist(summary, results))],
            notes=[CHECKLIST_NOTE],
            apart=True,
        ),
        Section("Resolved settings", folded=_list_settings(report)),
    ]


def _explain_reading(report: Report) -> list[str]:
    summary, looks = report.summary, []
    if summary.plan.looks:
        counts = ", ".join(map(str, summary.plan.looks))
        levels = ", ".join(f"{level:.2g}" for level in summary.look_levels)
        looks = [
            f"Results are looked at with {counts} seeds, and variants that are decided get no more. Differences have "
            "the interval of the latest look at them and a p value that counts all looks, so that both hold over the "
            f"whole study; levels of the looks for one variant: {levels}."
        ]
    return [
        "Intervals are 95 % and count seeds and problems as crossed random effects (one seed: problems only). "
        "Differences are paired on shared seeds and problems; their p values are Holm-adjusted over the variants "
        f"compared on one metric. The study is decided on {summary.primary}; other metrics describe. Shares are "
        "in per cent, their differences in points.",
        *looks,
        *report.provenance.pipelines,
    ]


def _list_origins(origin: Provenance) -> list[Table]:
    shared = tuple(origin.shared.items())
    apart = tuple(
        (path, value, "; ".join(trial.rpartition(" (")[0] for trial in trials))
        for path, values in origin.differing.items()
        for value, trials in values.items()
    )
    return select_with_rows(
        Table("Same for every finished trial", ("part", "value"), shared),
        Table("Different between trials", ("part", "value", "trials"), apart),
    )


def _list_settings(report: Report) -> list[tuple[str, str]]:
    configs = ((variant.name, variant.config.model_dump(mode="json")) for variant in report.results.plan.variants)
    return [(name, write_yaml(config)) for name, config in configs]
