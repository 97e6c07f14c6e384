"""A critic's measurement: its tables, figures, page and files. `result.json` is written last: then it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capo_bench.critic.ask import critique_record
from capo_bench.critic.measure import CriticMeasurement, identify_measurement
from capo_bench.critic.summary import CriticSummary
from capo_bench.pages import svg
from capo_bench.pages.critic_tables import SHARES, Cell, Row, name_rule, share_of, vote_lines
from capo_bench.pages.figures import draw_precision_recall
from capo_bench.pages.page import Page, Section, write_page
from capo_bench.pages.svg import Axis, Figure, Look, Panel, Point, Series, draw
from capo_bench.pages.text import NOTHING, Table, format_percent, format_two_digits, format_with_interval, write_yaml
from capo_bench.store.home import Home, write_json
from capo_bench.store.provenance import describe_environment
from evals.checksums import SUMS, list_files_below, seal
from evals.critics.first_error import FirstErrorScores
from evals.critics.metrics import ShareEstimate
from evals.files import write_atomic

STEPS = (
    "Only labelled steps count, and only solutions that at least one of the k critiques answered; a critique without a "
    "verdict counts neither for nor against a step. k critiques are the first k of those sampled. Intervals resample "
    "whole problems."
)
SCORED = (
    "Only labelled steps count, and only solutions that the model scored. A step is flagged where its score, the "
    "probability that it is right, is below the threshold. AUC is the chance that a wrong step has a lower score than "
    "a right one, of all labelled steps together, equal scores counting half. Intervals resample whole problems."
)
FIRST = (
    "As ProcessBench is published: of erroneous solutions those whose first flagged step is the labelled one, of clean "
    "ones those without a flag; F1 is the harmonic mean of the two shares, and a solution without a verdict "
    "counts as missed. The mean is over subsets."
)

RESULT = "result.json"

UNDEFINED = "not defined here"

FIRST_ERROR: Mapping[str, Callable[[FirstErrorScores], str]] = {
    "erroneous": lambda scores: _share(scores.on_erroneous),
    "clean": lambda scores: _share(scores.on_clean),
    "F1": lambda scores: _share(scores.f1),
    "n": lambda scores: f"{scores.erroneous} + {scores.clean}",
    "no verdict": lambda scores: str(scores.unanswered),
}
"""Columns of a score of first errors."""


def write_measurement(measured: CriticMeasurement, summary: CriticSummary, home: Home) -> Path:
    """Write a measurement into its folder, and return that; the same measurement made again replaces it."""
    folder = home.critic(measured.id)
    provenance = {**describe_environment(), "data": _describe_data(measured)}
    (folder / SUMS).unlink(missing_ok=True)
    write_atomic(folder / "critiques.jsonl", "".join(_write_lines(measured)))
    write_json(folder / "provenance.json", provenance)
    write_page(build_measurement_page(measured, summary, provenance), folder)
    whole = {
        "id": measured.id,
        "identity": identify_measurement(measured.request, measured.solutions),
        **asdict(summary),
    }
    write_json(folder / RESULT, whole)
    seal(folder, {path.relative_to(folder).parts[0] for path in list_files_below(folder)} - {"lock"})
    return folder


def build_measurement_page(
    measured: CriticMeasurement, summary: CriticSummary, provenance: Mapping[str, Any] | None = None
) -> Page:
    """Return the page of a measurement."""
    steps = SCORED if summary.scored else STEPS
    texts = {"Critic": measured.request.critic.model_dump(mode="json"), "Data and environment": provenance}
    return Page(
        title=write_title(measured),
        about=describe_measurement(measured, summary),
        sections=[
            Section("Quality", tables=build_tables(summary), notes=[FIRST, steps] if summary.first_error else [steps]),
            Section(
                "Agreement and cost",
                [describe_agreement(summary), *cost_in_words(summary.cost, scored=summary.scored)],
            ),
            Section("Figures", figures=draw_figures(summary)),
            Section("Provenance", folded=[(name, write_yaml(value)) for name, value in texts.items()]),
        ],
    )


def write_title(measured: CriticMeasurement) -> str:
    """Return what was measured on what."""
    settings = measured.request.critic.model_dump(mode="json")
    model = f" ({settings['model']})" if settings.get("model") else ""
    return f"Critic {measured.request.critic.name}{model} on {measured.data.name}"


def describe_measurement(measured: CriticMeasurement, summary: CriticSummary) -> str:
    """Return how much was measured, in one line."""
    asked = "scored once" if summary.scored else f"{measured.request.terms.critiques} critiques of each"
    left_out = "".join(f" · {count} left out: {reason}" for reason, count in measured.loaded.left_out.items())
    return (
        f"{summary.solutions:,} solutions, {summary.erroneous:,} with a wrong step · {summary.steps:,} labelled steps, "
        f"{summary.wrong:,} wrong · {asked} · "
        f"{measured.loaded.source}{left_out}"
    )


def build_tables(summary: CriticSummary) -> list[Table]:
    """Return the tables of a measurement."""
    first = [build_first_error_table(summary.first_error)] if summary.first_error else []
    several = summary.first_error and len(summary.first_error[0]["subsets"]) > 1
    subsets = [build_subset_table(summary.first_error)] if several else []
    return [*first, *subsets, vote_table(summary.votes), build_calibration_table(summary)]


def vote_table(rows: Sequence[Row]) -> Table:
    """Return quality per step by rule and k, in per cent."""
    columns: dict[str, Cell] = {**SHARES, "false alarms": lambda row: share_of(row, "false_alarm")}
    if any(row["uncritiqued"] for row in rows):
        columns["no verdict"] = lambda row: format_percent(row["uncritiqued"])
    return _build_table_by_rule("Steps flagged: % [95 % interval]", rows, columns)


def build_first_error_table(rows: Sequence[Row]) -> Table:
    """Return ProcessBench's score by rule and k, in per cent: of the one subset, or the mean over subsets."""
    name = list(rows[0]["subsets"])[-1]
    columns: dict[str, Cell] = {
        heading: lambda row, show=show: show(row["subsets"][name])  # type: ignore[misc]
        for heading, show in FIRST_ERROR.items()
    }
    return _build_table_by_rule(f"First error, {name}: % [95 % interval]", rows, columns)


def _build_table_by_rule(title: str, rows: Sequence[Row], columns: Mapping[str, Cell]) -> Table:
    """Return a table of rules by k; the greedy critique is one of its own and shares no line with those sampled."""
    if any(row["k"] > 1 for row in rows):
        columns = {"k": lambda row: str(row["k"]), **columns}
    apart = [[row for row in rows if (row["rule"] == "greedy") is greedy] for greedy in (True, False)]
    return Table(title, ("rule", *columns), tuple(line for own in apart for line in vote_lines(own, columns)))


def build_subset_table(rows: Sequence[Row]) -> Table:
    """Return ProcessBench's score of each subset, at the largest k and of the greedy critique, in per cent."""
    most = max(row["k"] for row in rows)
    shown = tuple(
        (name_rule(row), str(row["k"]), subset, *(show(scores) for show in FIRST_ERROR.values()))
        for row in rows
        if row["k"] == most or row["rule"] == "greedy"
        for subset, scores in row["subsets"].items()
    )
    return Table("First error by subset: % [95 % interval]", ("rule", "k", "subset", *FIRST_ERROR), shown)


def build_calibration_table(summary: CriticSummary) -> Table:
    """Return how far shares of votes, or 1 − score, are from the share of wrong steps."""
    headings = ("labelled steps", "expected calibration error", "Brier score")
    cells = {
        k: (f"{row.steps:,}", _format_number(row.error), _format_number(row.brier))
        for k, row in summary.calibration.items()
    }
    if summary.scored:
        return Table("Calibration of 1 − score as the chance that a step is wrong", headings, tuple(cells.values()))
    heading = "Calibration of the share of k votes, which is what `average` charges"
    return Table(heading, ("k", *headings), tuple((str(k), *row) for k, row in cells.items()))


def describe_agreement(summary: CriticSummary) -> str:
    """Return the agreement among critiques as a sentence, or how well a process reward model ranks steps."""
    if summary.area is not None:
        area = f"{_share(summary.area)} % of pairs of labelled steps" if summary.area.value is not None else ""
        return f"A wrong step has a lower score than a right one (AUC): {area or UNDEFINED}."
    alpha = summary.alpha
    shown = (
        format_with_interval(alpha.value, alpha.low, alpha.high, format_two_digits)
        if alpha.value is not None
        else UNDEFINED
    )
    return f"Agreement among critiques (Krippendorff's alpha): {shown}."


def cost_in_words(cost: Mapping[str, Any], *, scored: bool = False) -> list[str]:
    """Return abstentions and cost as sentences; `scored` if a process reward model read each solution once."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in cost["abstained"].items())
    lacking = "solutions without scores" if scored else "critiques without a verdict"
    abstained = f"{sum(cost['abstained'].values()):,} of {cost['critiques']:,} {lacking}"
    tokens = f"{cost['prompt_tokens']:,} prompt tokens ({cost['cached_tokens']:,} cached)"
    if cost["output_tokens"]:  # a process reward model writes none
        each = cost["output_tokens"] / cost["critiques"]
        tokens += f", {cost['output_tokens']:,} written ({each:,.1f} a critique)"
    reused = f"; {cost['reused']:,} critiques were there from before" if cost["reused"] else ""
    money = f", price {cost['money']:,.4f}" if cost["money"] else ""
    return [
        f"Abstentions: {abstained}{f' ({reasons})' if reasons else ''}.",
        f"Cost: {tokens}, {cost['seconds']:,.1f} s{money}{reused}.",
    ]


def draw_figures(summary: CriticSummary) -> list[Figure]:
    """Draw what there is to show: precision against recall by rule and k, and the reliability of shares of votes."""
    drawn = [None if summary.scored else draw_precision_recall(summary.votes), draw_reliability(summary)]
    return [figure for figure in drawn if figure is not None]


def draw_reliability(summary: CriticSummary) -> Figure | None:
    """Draw the share of wrong steps against the share of votes, at the largest k."""
    k, measured = max(summary.calibration.items())
    if not measured.bins:
        return None
    what = "1 − score of a step" if summary.scored else f"share of the {k} critiques that flag a step"
    unit = "% doubt" if summary.scored else "% of votes"
    words = [
        f"{100 * part.share:.0f} {unit}: {100 * part.wrong:.0f} % of {part.steps} steps are wrong"
        for part in measured.bins
    ]
    points = [Point(100 * part.share, 100 * part.wrong, note) for part, note in zip(measured.bins, words, strict=True)]
    line = Series(
        "calibrated",
        [Point(0, 0, "calibrated"), Point(100, 100, "calibrated")],
        Look("#8c8c8c", "cross", "2 3"),
        line=True,
    )
    panel = Panel(
        [line, Series("labelled steps", points, line=True)],
        Axis(f"{what} (%)", 0, 100),
        Axis("share of these steps that are wrong (%)", 0, 100),
    )
    caption = (
        f"Reliability of {'1 − score' if summary.scored else f'the share of {k} votes'}. Expected calibration error "
        f"{measured.error:.3f}, Brier score {measured.brier:.3f}."
    )
    return draw("reliability", caption, "; ".join(words), svg.draw_panels([panel]))


def _share(share: ShareEstimate) -> str:
    return format_with_interval(share.value, share.low, share.high)


def _format_number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _describe_data(measured: CriticMeasurement) -> dict[str, Any]:
    loaded = {"source": measured.loaded.source, "left_out": dict(measured.loaded.left_out)}
    selection = asdict(measured.request.selection)
    return {"name": measured.data.name, **selection, "subsets": list(selection["subsets"]), **loaded}


def _write_lines(measured: CriticMeasurement) -> Iterator[str]:
    asked = measured.asked
    for solution, sampled, greedy in zip(measured.solutions, asked.sampled, asked.greedy, strict=True):
        line = {
            "solution": solution.id,
            "subset": solution.subset,
            "problem": solution.problem.prompt,
            "steps": solution.steps,
            "labelled": sorted(solution.labels.labelled),
            "wrong": sorted(solution.labels.wrong),
            "critiques": list(map(critique_record, sampled)),
            "greedy": list(map(critique_record, greedy)),
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"
