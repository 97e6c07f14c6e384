"""A study's report as a page: one sentence, one figure and one table first, everything else below."""

from __future__ import annotations

from typing import Any

from capo_bench.analysis.provenance import Provenance
from capo_bench.pages.build import FIRST_ROWS, Report
from capo_bench.pages.critic_tables import critic_notes
from capo_bench.pages.figures import differences
from capo_bench.pages.page import Page, Section
from capo_bench.pages.tables import CHECKLIST_NOTE, POWER_NOTE
from capo_bench.pages.text import Table, in_yaml

SHARPENING_NOTE = (
    "Greedy: temperature 0. avg@k, maj@k and pass@k: mean accuracy, vote, and at least one right answer, of k answers "
    "sampled at temperature T. More than sharpening: the greedy answers beat, beyond noise, the start's greedy answers "
    "and its majority of K. Only sharpening: the start's are as good (the interval leaves no room for an advantage as "
    "large as the gain), or from some k on the start's pass@k is above, beyond noise at the largest k: training has "
    "narrowed what the model can solve. Anything else, no gain and one seed among it, cannot be told. Intervals are "
    "95 % each."
)

_IN_SECTIONS = {"sharpening": "sharpening", "precision_recall": "critics", "cost": "cost"}
"""Figures that stand in a section of their own matter; the others stand together."""


def report_page(report: Report) -> Page:
    """Return the page of a report."""
    summary, answer = report.summary, report.answer
    start = f" · start {summary.start}" if summary.start else ""
    about = (
        f"Profile {summary.profile} · {summary.finished} of {summary.planned} trials finished · baseline "
        f"{summary.reference}{start} · decided on {summary.primary}. Filled marks are beyond noise; cost is "
        "training's, over the baseline's."
    )
    return Page(
        title=summary.name,
        question=summary.question,
        about=about,
        answer=answer.headline,
        figure=differences(summary, FIRST_ROWS - 1),
        table=report.first,
        sections=_sections(report),
    )


def _sections(report: Report) -> list[Section]:
    summary, answer, origin = report.summary, report.answer, report.provenance
    drawn: dict[str, list[Any]] = {}
    for figure in report.figures:
        drawn.setdefault(_IN_SECTIONS.get(figure.name, "results"), []).append(figure)
    missing = [f"{variant}, seed {seed} ({trial})" for variant, seed, trial in summary.missing]
    return [
        Section("Read with care", (*origin.warnings, *answer.cautions)),
        Section("The answer in full", (*answer.details, *answer.comparisons)),
        Section("Results", tables=report.tables, figures=drawn.get("results", ()), notes=_how_to_read(report)),
        Section(
            "Is it only sharpening?",
            answer.sharpening,
            report.sharpening,
            figures=drawn.get("sharpening", ()),
            notes=[SHARPENING_NOTE],
        ),
        Section("Power", tables=report.power, notes=[POWER_NOTE]),
        Section("Critics", tables=report.judges, figures=drawn.get("critics", ()), notes=critic_notes(report.critics)),
        Section("Cost", tables=[report.cost], figures=drawn.get("cost", ())),
        Section(
            "Rollouts",
            [
                f"`capo-bench view {summary.name}` writes rollouts.html: all rollouts of training that were kept, with "
                "their critiques and the credit of each token."
            ],
        ),
        Section("Missing trials", missing),
        Section("Provenance", tables=_origins(origin), closed=True),
        Section("What a survey asks of such a study", tables=[report.checklist], notes=[CHECKLIST_NOTE]),
        Section("Resolved settings", folded=_settings(report)),
    ]


def _how_to_read(report: Report) -> list[str]:
    summary, looks = report.summary, []
    if summary.looks:
        counts = ", ".join(map(str, summary.looks))
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


def _origins(origin: Provenance) -> list[Table]:
    shared = tuple(origin.shared.items())
    apart = tuple(
        (path, value, "; ".join(trial.rpartition(" (")[0] for trial in trials))
        for path, values in origin.differing.items()
        for value, trials in values.items()
    )
    both = [
        Table("Same for every finished trial", ("part", "value"), shared),
        Table("Different between trials", ("part", "value", "trials"), apart),
    ]
    return [table for table in both if table.rows]


def _settings(report: Report) -> list[tuple[str, str]]:
    configs = ((variant.name, variant.config.model_dump(mode="json")) for variant in report.results.plan.variants)
    return [(name, in_yaml(config)) for name, config in configs]
