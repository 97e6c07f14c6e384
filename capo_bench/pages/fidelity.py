"""The table and the figures of how near credit comes to the true advantages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from capo_bench.analysis.fidelity import MEASURES, Fidelity, Learning
from capo_bench.pages import svg
from capo_bench.pages.figure import Figure, draw
from capo_bench.pages.table import Table

TITLES = {
    "sign": "Sign agreement on steps that matter (%)",
    "rank": "Rank correlation with the true advantages",
    "explained": "Variance of the true advantages that the credit explains (%)",
    "wasted": "Credit on steps that do not matter (%)",
    "cosine": "Cosine of the update's direction to the true one",
}
SHARES = frozenset({"sign", "explained", "wasted"})
POLICIES = {"start": "rollouts of the start", "trained": "rollouts of the trained policies"}


def fidelity_tables(rows: Sequence[Fidelity], bound: float) -> list[Table]:
    """Return a table for each policy and critic, the credit that ranks steps best first."""
    headings = ("credit", "sign", "rank", "explained", "wasted", "cosine", "one group's")
    found = []
    for policy, critic in dict.fromkeys((row.policy, row.critic) for row in rows):
        own = [row for row in rows if (row.policy, row.critic) == (policy, critic)]
        who = f"critic {critic}" if critic else "no critic"
        counts = f"{own[0].steps} steps of {own[0].groups} groups, {own[0].matter} matter (|A| > {bound:g})"
        title = f"Credit against true advantages, {POLICIES[policy]}, {who}: {counts}"
        cells = tuple(
            (row.credit.label, *(_cell(name, getattr(row, name)) for name in MEASURES), _number(row.cosine_group))
            for row in own
        )
        found.append(Table(title, headings, cells))
    return found


def learning_lines(learning: Learning, metric: str) -> list[str]:
    """Say whether fidelity predicts learning over the variants."""
    value, low, high = learning.correlation
    if math.isnan(value):
        few = f"{len(learning.rows)} variants have both, and 4 are needed"
        return [f"Whether fidelity predicts {metric} cannot be said: {few}."]
    verdict = "predicts" if low > 0 else "predicts the opposite of" if high < 0 else "does not predict"
    noise = " beyond noise" if verdict == "does not predict" else ""
    return [
        f"Over {len(learning.rows)} variants, the fidelity of a variant's credit (its rank correlation with the true "
        f"advantages) {verdict} {metric}{noise}: correlation {value:.2f} [{low:.2f}, {high:.2f}]."
    ]


def fidelity_figures(rows: Sequence[Fidelity]) -> list[Figure]:
    """Return a figure for each measure: every way of credit with its interval, on the rollouts of each policy."""
    return [_figure(name, rows) for name in MEASURES if any(not math.isnan(getattr(row, name)[0]) for row in rows)]


def _figure(name: str, rows: Sequence[Fidelity]) -> Figure:
    known = [row for row in rows if not math.isnan(getattr(row, name)[0])]
    looks = svg.looks(list(POLICIES))
    lines = [
        (label, [_point(name, row, looks[row.policy]) for row in known if _label(row) == label])
        for label in dict.fromkeys(map(_label, known))
    ]
    caption = f"{TITLES[name]}, with 95 % intervals over groups of rollouts."
    key = {words: looks[policy] for policy, words in POLICIES.items()}
    alt = "; ".join(_words(name, row) for row in known)
    return draw(f"credit_{name}", caption, alt, svg.rows(lines, svg.Axis(TITLES[name]), key))


def _point(name: str, row: Fidelity, look: svg.Look) -> svg.Point:
    times = 100 if name in SHARES else 1
    value, low, high = (times * each for each in getattr(row, name))
    return svg.Point(value, note=_words(name, row), across=(min(low, value), max(high, value)), look=look)


def _words(name: str, row: Fidelity) -> str:
    return f"{_label(row)}, {POLICIES[row.policy]}: {_cell(name, getattr(row, name))}"


def _label(row: Fidelity) -> str:
    return f"{row.credit.label} ({row.critic})" if row.critic else row.credit.label


def _cell(name: str, values: tuple[float, float, float]) -> str:
    if math.isnan(values[0]):
        return "–"
    value, low, high = (f"{100 * each:.0f}" if name in SHARES else _number(each) for each in values)
    return f"{value} [{low}, {high}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")
