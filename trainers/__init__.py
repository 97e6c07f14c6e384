"""Training: methods on top of TRL, credit assignment, critics, backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]
"""Function that receives one record of plain values of a step or a stage."""
