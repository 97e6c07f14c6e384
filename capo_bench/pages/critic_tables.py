"""The tables of critics: how good their votes are, what they did and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from capo_bench.analysis.critics import MOST_OF_STUDY, MOST_ROLLOUTS, Critics
from capo_bench.critic.quality import Vote
from capo_bench.pages.text import (
    NOTHING,
    Table,
    format_percent,
    format_two_digits,
    format_with_interval,
    select_with_rows,
)

Row = Mapping[str, Any]
"""How good a vote is (`LabelTally.row`), or what a critic did (`Critics.totals`)."""

Cell = Callable[[Row], str]
"""From a row to the cell of a column."""


def build_critic_tables(critics: Critics) -> list[Table]:
    """Return the critics' quality by rule and k, what they did, and what they cost."""
    quality = [
        (f"{critic}: {rule}", *cells)
        for critic, own in group_by_critic(critics.votes).items()
        for rule, *cells in vote_lines(own, QUALITY)
    ]
    paid = any(row["cost"]["critic_money"] for row in critics.totals)
    return select_with_rows(
        Table(
            "Votes of the critics against the exact checker, on rollouts of training (%, with 95 % intervals)",
            ("critic and rule", *QUALITY),
            tuple(quality),
        ),
        Table(
            "What the critics did, all trials together (α with 95 % interval)",
            ("critic", "trials", "critiques (reused)", "abstained", "agreement α"),
            tuple(_describe_work(row) for row in critics.totals),
        ),
        Table(
            "What the critics cost, all trials together",
            ("critic", "trials", "tokens read (cached) + written", "tokens per policy token", "seconds (waited)")
            + ("money",) * paid,
            tuple((*_describe_cost(row), *[f"{row['cost']['critic_money']:,.4g}"] * paid) for row in critics.totals),
        ),
    )


def list_critic_notes(critics: Critics) -> list[str]:
    """Return how to read the critics' tables, and what could not be read."""
    if not critics.totals:
        return []
    return [
        f"Quality, agreement and reasons of abstention: from {critics.read:,} rollouts of training, about "
        f"{MOST_ROLLOUTS:,} of a trial and {MOST_OF_STUDY:,} of a study at most (every n-th optimizer step from the "
        "first; of many trials as many as that takes), k critiques being the first k; intervals resample whole "
        "problems. Judgments of answers have rows of their own and are measured against the verifier. Agreement: "
        "Krippendorff's α over steps, 0 for chance and 1 for one mind. A critique that was reused counts with the "
        "tokens that it once cost; seconds are wall time from question to answer, and in brackets the time in which "
        "training only waited.",
        *(f"Not read: {line}" for line in critics.damaged),
    ]


def group_by_critic(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each critic."""
    critics: dict[str, list[Row]] = {}
    for row in rows:
        critics.setdefault(row["critic"], []).append(row)
    return critics


def name_rule(row: Row) -> str:
    """Return a row's voting rule as tables name it."""
    return Vote(row["rule"], row["at_least"]).label


def vote_lines(
    rows: Iterable[Row], columns: Mapping[str, Cell], trained: Collection[tuple[str, int]] = ()
) -> list[tuple[str, ...]]:
    """Return the lines of a table of rules by k, each with its rule and these columns; see `share_lines`."""
    lines = [(name_rule(row), row["k"], tuple(show(row) for show in columns.values())) for row in rows]
    return [(rule, *cells) for rule, cells in share_lines(lines, trained)]


def share_lines(
    lines: Sequence[tuple[str, int, tuple[str, ...]]], trained: Collection[tuple[str, int]] = ()
) -> list[tuple[str, tuple[str, ...]]]:
    """Name the rule of each (rule, k, cells); rules with equal cells at one k, as all are at k = 1, share a line."""
    rules: dict[int, set[str]] = {}
    same: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for rule, k, cells in lines:
        rules.setdefault(k, set()).add(rule)
        same.setdefault(cells, []).append((rule, k))

    def name(alike: Sequence[tuple[str, int]]) -> str:
        if len(alike) == len(rules[alike[0][1]]) > 2:
            return "any rule" + (" (trained)" if any(line in trained for line in alike) else "")
        return " = ".join(f"{rule}{' (trained)' if (rule, k) in trained else ''}" for rule, k in alike)

    return [(name(alike), cells) for cells, alike in same.items()]


def share_of(row: Row, name: str, show: Callable[[float | None], str] = format_percent) -> str:
    """Return a number of a row with the ends of its interval beside it, such as `LabelTally.row`."""
    return format_with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], show)


SHARES: Mapping[str, Cell] = {
    "precision": lambda row: share_of(row, "precision"),
    "recall": lambda row: share_of(row, "recall"),
    "F1": lambda row: share_of(row, "f1"),
}
"""Columns of how good votes are, in per cent: a heading to the cell of a row of `LabelTally.row`."""

QUALITY: Mapping[str, Cell] = {
    "k": lambda row: str(row["k"]),
    "labelled × problems": lambda row: f"{row['labelled_steps']:,} × {row['problems']:,}",
    "flagged": lambda row: format_percent(row["flagged_step_rate"]),
    **SHARES,
}


def _describe_work(row: Row) -> tuple[str, ...]:
    cost = row["cost"]
    reasons = ", ".join(f"{reason} {format_percent(share)}" for reason, share in row["reasons"].items())
    abstained = f"{format_percent(cost['abstained'] / cost['critiques'])} %" if cost["critiques"] else NOTHING
    return (
        row["critic"],
        str(row["trials"]),
        f"{cost['critiques']:,.0f} ({cost['critiques_reused']:,.0f})",
        f"{abstained}: {reasons}" if reasons else abstained,
        share_of(row, "alpha", format_two_digits),
    )


def _describe_cost(row: Row) -> tuple[str, ...]:
    cost = row["cost"]
    each = f"{cost['critic_tokens'] / cost['policy_tokens']:.2f}" if cost["policy_tokens"] else NOTHING
    read = f"{cost['critic_prompt_tokens']:,.0f} ({cost['critic_cached_tokens']:,.0f})"
    seconds = f"{cost['critique_seconds']:,.1f} ({cost['critic_wait_seconds']:,.1f})"
    return row["critic"], str(row["trials"]), f"{read} + {cost['critic_output_tokens']:,.0f}", each, seconds
