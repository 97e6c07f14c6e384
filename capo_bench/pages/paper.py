"""The paper's figures beside ours: second hand, of another scale, and never more than that.

They come from a reading note of arXiv 2508.02298, not from the paper itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from capo_bench.analysis.measures import label, number
from capo_bench.analysis.summary import Cell, Summary
from capo_bench.pages.table import NOTHING, Table
from capo_bench.study.plan import Variant

WEIGHTS = {(2.0, 1.0): 29.4, (2.0, 0.1): 28.8, (2.0, 2.0): 28.5, (2.0, 5.0): 27.4}
"""(W_whole, W_process) to the mean over all benchmarks of the paper, in per cent."""

BACKBONES = {
    "qwen2.5-7b": ("Qwen2.5-7B", 37.0, 2.3),
    "llama3.2-3b": ("Llama-3.2-3B", 30.4, 1.8),
    "llama3.2-1b": ("Llama-3.2-1B", 18.8, 2.9),
    "qwen2.5-1.5b": ("Qwen2.5-1.5B", 32.3, 1.0),
}
"""Backbone to its name there, CAPO's mean over all benchmarks in per cent, and its points over GRPO-Rule."""

_NOTE = "2nd-hand, other scale: other models, problems and training; no number of one column compares with the other's"


def beside(summary: Summary, variants: Sequence[Variant]) -> Table | None:
    """Return a table of ours and the paper's, where the study asks what a table of the paper asks; else None."""
    if summary.name == "weights":
        return _weights(summary, variants)
    if summary.name == "main":
        return _backbones(summary, variants)
    return None


def _weights(summary: Summary, variants: Sequence[Variant]) -> Table | None:
    cells = _known(summary)
    rows = []
    for one in variants:
        credit = one.config.credit
        theirs = WEIGHTS.get((credit.w_whole, credit.w_process))
        if theirs is not None and one.config.method == "capo" and one.name in cells:
            rows.append((one.name, _ours(summary, cells[one.name]), f"{theirs:.1f}"))
    headings = (f"{_pair_name(variants)}", f"ours: {label(summary.primary)}", "paper: mean of all benchmarks (%)")
    return Table(f"The paper's weights beside ours ({_NOTE})", headings, tuple(rows)) if rows else None


def _pair_name(variants: Sequence[Variant]) -> str:
    return "W_whole : W_process" if variants else ""


def _backbones(summary: Summary, variants: Sequence[Variant]) -> Table | None:
    cells = _known(summary)
    capo = {one.config.backbone: one.name for one in variants if one.config.method == "capo"}
    rows = []
    for backbone, name in capo.items():
        if name in cells and backbone not in BACKBONES:
            rows.append(
                (f"{backbone} (ours)", _ours(summary, cells[name]), _gain(summary, cells[name]), NOTHING, NOTHING)
            )
    for backbone, (title, mean, gain) in BACKBONES.items():
        cell = cells.get(capo.get(backbone, ""))
        ours = (_ours(summary, cell), _gain(summary, cell)) if cell else (NOTHING, NOTHING)
        rows.append((title, *ours, f"{mean:.1f}", f"+{gain:.1f}"))
    headings = (
        *("backbone", f"CAPO, ours: {label(summary.primary)}", "over the baseline, ours [95 %]"),
        *("CAPO, paper: mean of all benchmarks (%)", "over GRPO-Rule, paper"),
    )
    return Table(f"The paper's backbones beside ours ({_NOTE})", headings, tuple(rows)) if capo else None


def _known(summary: Summary) -> dict[str, Cell]:
    return {row.variant: cell for row, cell in summary.cells(summary.primary)}


def _ours(summary: Summary, cell: Cell) -> str:
    half = (cell.value.high - cell.value.low) / 2
    return f"{number(summary.primary, cell.value.mean)} ± {number(summary.primary, half)}"


def _gain(summary: Summary, cell: Cell) -> str:
    if cell.versus is None:
        return NOTHING
    mean, low, high = (
        number(summary.primary, x, sign=True) for x in (cell.versus.mean, cell.versus.low, cell.versus.high)
    )
    return f"{mean} [{low}, {high}]"
