"""What learns: methods over TRL, credit, critics, backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]
"""Called with one record of plain values of a step or a stage."""
