"""Numbers and long texts as a page shows them."""

from __future__ import annotations

import math
from collections.abc import Callable

from capo_bench.inert import for_page

NOTHING = "–"
"""A cell for a number that nothing defines."""


def percent(value: float | None) -> str:
    """Return a share in per cent, without the sign."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def two_digits(value: float | None) -> str:
    """Return a number with two digits after the point: ``−0.12``."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value + 0.0:.2f}".replace("-", "−")


def with_interval(
    value: float | None, low: float | None, high: float | None, show: Callable[[float | None], str] = percent
) -> str:
    """Return a number with its interval: ``67.1 [62.0, 71.3]``; of a number without one the number alone."""
    ends = "" if value is None or low is None or high is None else f" [{show(low)}, {show(high)}]"
    return f"{show(value)}{ends}"


def in_yaml(value: object) -> str:
    """Return plain data as YAML."""
    import yaml

    # libyaml's writer where there is one: it is ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(value, None, dumper, sort_keys=False, allow_unicode=True))


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
