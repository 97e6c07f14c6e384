"""Segment credit: Monte Carlo as in `monte_carlo`, over segments of several steps.

Source: SPO (arXiv 2505.23564): A of a segment is V after it less V before it, the same for all of its tokens. Fewer
values are needed than one a step, and each weighs more.

The abstract was read, not the equations. The paper cuts where the policy was unsure (SPO-chain) and shares samples in a
tree; here a segment is `values.segment` steps one after another, whichever they are, and its probability mask, which
leaves tokens that the policy was sure of out of the update, is left out: credit alone differs from `vineppo`.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def segments(batch: Batch, terms: Terms) -> Earned:
    """Return what the segment of each step changes of the chance of a right answer."""
    layout = batch.layout
    values, before = batch.evidence.given("values"), batch.evidence.given("before")
    last = np.repeat(layout.starts + layout.steps - 1, layout.steps)
    first = np.arange(len(values)) - layout.place % terms.segment
    end = np.minimum(first + terms.segment - 1, last)
    return Earned(np.nan_to_num(values[end] - before[first]), values)
