"""Who hears of a training: a function that takes the records of its steps and stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]
"""Called with one record of plain values."""
