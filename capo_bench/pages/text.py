"""Numbers and long texts as a page shows them."""

from __future__ import annotations

from capo_bench.inert import for_page


def clipped(text: str, most: int) -> str:
    """Return a text of at most about `most` characters: its beginning and its end, where a critic's verdict stands."""
    if len(text) <= most:
        return for_page(text)
    head, tail = most * 3 // 4, most // 4
    left_out = len(text) - head - tail
    return f"{for_page(text[:head])}\n… {left_out:,} characters left out …\n{for_page(text[-tail:])}"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, as text has it: ``+0.82``, ``−1``, ``0``."""
    shown = f"{value:+.{digits}f}".rstrip("0").rstrip(".")
    return "0" if shown in {"+0", "-0"} else shown.replace("-", "−")


def plain_number(value: float) -> str:
    """Return a number without a plus: ``2``, ``−0.5``."""
    return f"{value:g}".replace("-", "−")
