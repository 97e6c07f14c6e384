"""A measurement as one self-contained page, in the style of a study's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from capo_bench.critic.measure import Measured
from capo_bench.critic.summary import Summary
from capo_bench.critic.tables import agreement_in_words, cost_in_words, tables
from capo_bench.report.canvas import Figure
from capo_bench.report.page import picture, render

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


def page(measured: Measured, summary: Summary, drawn: Sequence[Figure], provenance: Mapping[str, Any]) -> str:
    """Render the page."""
    settings, steps = measured.request.critic.model_dump(mode="json"), SCORED if summary.scored else STEPS
    return render(
        "critic.html.j2",
        title=title(measured),
        about=about(measured, summary),
        tables=tables(summary),
        notes=[FIRST, steps] if summary.first_error else [steps],
        lines=[agreement_in_words(summary), *cost_in_words(summary.cost, scored=summary.scored)],
        figures=drawn,
        picture=picture,
        provenance={"Critic": _yaml(settings), "Data and environment": _yaml(dict(provenance))},
    )


def title(measured: Measured) -> str:
    """Return what was measured on what."""
    settings = measured.request.critic.model_dump(mode="json")
    model = f" ({settings['model']})" if settings.get("model") else ""
    return f"Critic {measured.request.critic.name}{model} on {measured.data.name}"


def about(measured: Measured, summary: Summary) -> str:
    """Return how much was measured, in one line."""
    asked = "scored once" if summary.scored else f"{measured.request.terms.critiques} critiques of each"
    left_out = "".join(f" · {count} left out: {reason}" for reason, count in measured.loaded.left_out.items())
    return (
        f"{summary.solutions:,} solutions, {summary.erroneous:,} with a wrong step · {summary.steps:,} labelled steps, "
        f"{summary.wrong:,} wrong · {asked} · "
        f"{measured.loaded.source}{left_out}"
    )


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
