"""The tables of a measurement, and its numbers in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TypeVar

from capo_bench.critic.quality import VoteQuality
from capo_bench.critic.summary import Cost, FirstError, Summary
from capo_bench.report.tables import NOTHING, Table
from evals.critics.first_error import FirstErrorScores
from evals.critics.metrics import Estimate

HEADINGS = {"precision": "precision", "recall": "recall", "f1": "F1", "false_alarm": "false alarms"}
SCORES = tuple(HEADINGS)
FIRST_ERROR = ("on_erroneous", "on_clean", "f1")


def tables(summary: Summary, *, whole: bool = True) -> list[Table]:
    """Return the tables of a measurement; without `whole` those that fit a terminal."""
    first = [first_error_table(summary.first_error)] if summary.first_error else []
    subsets = [subset_table(summary.first_error)] if whole and len(_subsets(summary.first_error)) > 1 else []
    return [
        *first,
        *subsets,
        vote_table(summary.votes, SCORES if whole else SCORES[:-1]),
        calibration_table(summary),
    ]


def vote_table(rows: Sequence[VoteQuality], parts: Sequence[str] = SCORES) -> Table:
    """Return quality per step by rule and k, in per cent: those of `SCORES` that are asked for."""
    kept = _once(rows, [row.scores for row in rows])
    lacking = any(row.unanswered for row in rows)
    shown = [
        (name, *(per_cent(getattr(row.scores, part)) for part in parts), *[f"{row.unanswered:,}"] * lacking)
        for name, row in kept
    ]
    headings = (rows[0].vote.heading, *(HEADINGS[part] for part in parts), *["no verdict"] * lacking)
    return Table("Steps flagged: % [95 % interval]", headings, tuple(shown))


def first_error_table(rows: Sequence[FirstError]) -> Table:
    """Return ProcessBench's score by rule and k, in per cent: of the one subset, or the mean over subsets."""
    name = list(rows[0].subsets)[-1]
    scored = [row.subsets[name] for row in rows]
    shown = [(label, *_first_error(row.subsets[name])) for label, row in _once(rows, scored)]
    headings = (rows[0].vote.heading, "erroneous", "clean", "F1", "n", "no verdict")
    return Table(f"First error, {name}: % [95 % interval]", headings, tuple(shown))


def subset_table(rows: Sequence[FirstError]) -> Table:
    """Return ProcessBench's score of each subset, at the largest k and of the greedy critique, in per cent."""
    most = max(row.k for row in rows)
    shown = [
        (_named(row), subset, *_first_error(scores))
        for row in rows
        if row.k == most or row.vote.alone
        for subset, scores in row.subsets.items()
    ]
    headings = (rows[0].vote.heading, "subset", "erroneous", "clean", "F1", "n", "no verdict")
    return Table("First error by subset: % [95 % interval]", headings, tuple(shown))


def calibration_table(summary: Summary) -> Table:
    """Return how far shares of votes, or 1 − score, are from the share of wrong steps."""
    headings = ("labelled steps", "expected calibration error", "Brier score")
    found = {k: (f"{row.steps:,}", _number(row.error), _number(row.brier)) for k, row in summary.calibration.items()}
    if summary.scored:
        title = "Calibration of 1 − score as the chance that a step is wrong"
        return Table(title, headings, tuple(found.values()))
    title = "Calibration of the share of k votes, which is what `average` charges"
    return Table(title, ("k", *headings), tuple((str(k), *cells) for k, cells in found.items()))


def per_cent(estimate: Estimate) -> str:
    """Return a share with its interval: ``67.1 [62, 71]``."""
    if estimate.value is None:
        return NOTHING
    bounds = (
        "" if estimate.low is None or estimate.high is None else f" [{_bound(estimate.low)}, {_bound(estimate.high)}]"
    )
    return f"{100 * estimate.value:.1f}{bounds}"


def agreement_in_words(summary: Summary) -> str:
    """Return the agreement among critiques as a sentence, or how well a process reward model ranks steps."""
    if summary.area is not None:
        area = f"{per_cent(summary.area)} % of pairs of labelled steps" if summary.area.value is not None else ""
        return f"A wrong step has a lower score than a right one (AUC): {area or 'not defined here'}."
    return f"Agreement among critiques (Krippendorff's alpha): {alpha_in_words(summary.alpha) or 'not defined here'}."


def alpha_in_words(alpha: Estimate) -> str:
    """Return alpha with its interval: ``0.54 [0.51, 0.57]``; empty where it is not defined."""
    if alpha.value is None:
        return ""
    bounds = "" if alpha.low is None or alpha.high is None else f" [{alpha.low + 0.0:.2f}, {alpha.high + 0.0:.2f}]"
    return f"{alpha.value + 0.0:.2f}{bounds}".replace("-", "−")


def cost_in_words(cost: Cost, *, scored: bool = False) -> list[str]:
    """Return abstentions and cost as sentences; `scored` if a process reward model read each solution once."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in cost.abstained.items())
    lacking = "solutions without scores" if scored else "critiques without a verdict"
    abstained = f"{sum(cost.abstained.values()):,} of {cost.critiques:,} {lacking}"
    tokens = f"{cost.prompt_tokens:,} prompt tokens ({cost.cached_tokens:,} cached)"
    if cost.output_tokens:  # a process reward model writes none
        each = cost.output_tokens / cost.critiques
        tokens += f", {cost.output_tokens:,} written ({each:,.1f} a critique)"
    reused = f"; {cost.reused:,} critiques were there from before" if cost.reused else ""
    money = f", price {cost.money:,.4f}" if cost.money else ""
    return [
        f"Abstentions: {abstained}{f' ({reasons})' if reasons else ''}.",
        f"Cost: {tokens}, {cost.seconds:,.1f} s{money}{reused}.",
    ]


def votes_csv(rows: Sequence[VoteQuality]) -> str:
    """Return quality by rule and k, or of a threshold, with every number."""
    headings = ["solutions", "unanswered", "steps", "wrong", "flagged", *_three(SCORES)]
    lines = [
        [
            *row.vote.cells(row.k).values(),
            *(row.solutions, row.unanswered, row.scores.steps, row.scores.wrong, row.scores.flagged),
            *_bounds(getattr(row.scores, name) for name in SCORES),
        ]
        for row in rows
    ]
    return comma_separated([*rows[0].vote.cells(rows[0].k), *headings], lines)


def first_error_csv(rows: Sequence[FirstError]) -> str:
    """Return ProcessBench's score by rule and k, or of a threshold, and by subset, with every number."""
    headings = ["subset", "erroneous", "clean", "unanswered", *_three(FIRST_ERROR)]
    lines = [
        [
            *row.vote.cells(row.k).values(),
            *(subset, scores.erroneous, scores.clean, scores.unanswered),
            *_bounds(getattr(scores, name) for name in FIRST_ERROR),
        ]
        for row in rows
        for subset, scores in row.subsets.items()
    ]
    return comma_separated([*rows[0].vote.cells(rows[0].k), *headings], lines)


def calibration_csv(summary: Summary) -> str:
    """Return the reliability table of every k, or of 1 − score."""
    parts = [(k, part) for k, row in summary.calibration.items() for part in row.bins]
    if summary.scored:
        return comma_separated(["steps", "doubt", "wrong"], [[part.steps, part.share, part.wrong] for _, part in parts])
    lines = [[k, part.steps, part.share, part.wrong] for k, part in parts]
    return comma_separated(["k", "steps", "share", "wrong"], lines)


def comma_separated(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(lines)
    return out.getvalue()


R = TypeVar("R", VoteQuality, FirstError)


def _once(rows: Sequence[R], scores: Sequence[object]) -> list[tuple[str, R]]:
    """Return the rows with their names; what all rules make of one critique alike is there once."""
    single = [score for row, score in zip(rows, scores, strict=True) if _is_single(row)]
    alike = len(single) > 1 and all(score == single[0] for score in single)
    kept = [(_named(row), row) for row in rows if not (alike and _is_single(row))]
    if alike:
        first = next(row for row in rows if _is_single(row))
        kept.insert(rows.index(first), ("one critique", first))
    return kept


def _is_single(row: VoteQuality | FirstError) -> bool:
    return row.k == 1 and not row.vote.alone


def _named(row: VoteQuality | FirstError) -> str:
    return row.vote.label if row.vote.alone else f"{row.vote.label} of {row.k}"


def _subsets(rows: Sequence[FirstError]) -> list[str]:
    return list(rows[0].subsets) if rows else []


def _first_error(scores: FirstErrorScores) -> tuple[str, ...]:
    shares = (per_cent(getattr(scores, name)) for name in FIRST_ERROR)
    return (*shares, f"{scores.erroneous} + {scores.clean}", str(scores.unanswered))


def _bound(share: float) -> str:
    return f"{100 * share:.1f}" if share < 0.1 else f"{100 * share:.0f}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _three(names: Sequence[str]) -> list[str]:
    return [f"{name}{ending}" for name in names for ending in ("", "_low", "_high")]


def _bounds(estimates: Iterable[Estimate]) -> list[float | None]:
    return [getattr(estimate, part.name) for estimate in estimates for part in fields(Estimate)]
