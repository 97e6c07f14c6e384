"""The report in Markdown, for a pull request or a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capo_bench.report.tables import OVERALL_NOTE, POWER_NOTE, escaped, markdown

if TYPE_CHECKING:
    from capo_bench.report.build import Report
    from capo_bench.report.critics import Critics


def text(report: Report) -> str:
    """Render the report."""
    summary, answer = report.summary, report.answer
    parts = [
        f"# {escaped(summary.name)}",
        escaped(summary.question),
        f"Profile {escaped(summary.profile)}; {summary.finished} of {summary.planned} trials finished.",
        "## Answer",
        f"**{escaped(answer.headline)}**",
        _list(answer.comparisons),
        *_section("Cautions", (*report.provenance.warnings, *answer.cautions)),
        "## Results",
        *(f"### {escaped(table.title)}\n\n{markdown(table).rstrip()}" for table in report.tables),
        *([escaped(OVERALL_NOTE)] if summary.overall else []),
        *(["## Power", markdown(report.power).rstrip(), escaped(POWER_NOTE)] if report.power.rows else []),
        *_critics(report.critics),
        *_section("Gain over the start", answer.gains),
        *_section("Cost", answer.costs),
        "## Figures",
        *(
            f"![{escaped(figure.alt)}](figures/{figure.name}.svg)\n\n{escaped(figure.caption)}"
            for figure in report.figures
        ),
        *_section("Missing trials", [f"{variant}, seed {seed} ({trial})" for variant, seed, trial in summary.missing]),
        "## Provenance",
        _list([f"{path}: {value}" for path, value in report.provenance.shared.items()]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _critics(critics: Critics) -> list[str]:
    if not critics.tables:
        return []
    tables = [f"### {escaped(table.title)}\n\n{markdown(table).rstrip()}" for table in critics.tables]
    return ["## Critics", *tables, _list(critics.notes)]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", _list(lines)] if lines else []


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)
