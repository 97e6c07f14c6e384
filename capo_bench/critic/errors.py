"""Why a critic cannot be measured."""

from __future__ import annotations


class MeasureError(Exception):
    """What was asked for does not go together."""


class TooManyAbstainedError(Exception):
    """More critiques are without a verdict than was allowed."""
