r"""Tables as LaTeX, for a paper: `booktabs`' rules, numbers to the right, every character escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capo_bench.report.tables import Table

_ESCAPES = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "α": r"$\alpha$",
    "–": "--", "…": r"\ldots{}", "≥": r"$\geq$", "≤": r"$\leq$", "Δ": r"$\Delta$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}  # fmt: skip


def latex(table: Table) -> str:
    """Return a table environment; its document needs the package booktabs."""
    columns = "l" + "r" * (len(table.headings) - 1)
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in (table.headings, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it stands, on one line; what no font of its has is a question mark."""
    flat = re.sub(r"\s+", " ", text)
    return "".join(_ESCAPES.get(c, c if c.isascii() and c.isprintable() else "?") for c in flat)
