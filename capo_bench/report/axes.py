"""What training had spent by each step: the axes along which curves of unlike methods can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = {
    "steps": "optimizer step",
    "seconds": "wall seconds of training",
    "policy_tokens": "tokens sampled by the policy",
    "total_tokens": "tokens of policy and critic (the critic's weighed by its size)",
    "train_flops": "floating-point operations (estimate)",
}
"""Axis to its label."""


def spent(steps: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Return the spending up to and with each step, shape (steps,) each; an axis that any record lacks is left out.

    Args:
        steps: Records of all steps from the first.
    """
    found = {"steps": np.arange(1, len(steps) + 1, dtype=np.float64)}
    for name in list(AXES)[1:]:
        if all(step.get(name) is not None for step in steps):
            found[name] = np.cumsum([float(step[name]) for step in steps])
    return found
