"""Segment credit: Monte Carlo credit as in `monte_carlo`, over segments of several steps.

Source: SPO (arXiv 2505.23564). The advantage A of a segment is V after it minus V before it, the same for all of its
tokens. This needs fewer values than one per step, and each value has more weight.

We read the abstract, not the equations. The paper cuts where the policy was uncertain (SPO-chain) and shares samples in
a tree. Here a segment is `values.segment` consecutive steps. The paper's probability mask, which excludes tokens with a
high probability from the update, is left out, so that only the credit differs from `vineppo`.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def segments(batch: Batch, terms: Terms) -> Earned:
    """Return, for each step, its segment's change of the probability of a right answer."""
    layout = batch.layout
    values, before = batch.evidence.given("values"), batch.evidence.given("before")
    last = np.repeat(layout.starts + layout.steps - 1, layout.steps)
    first = np.arange(len(values)) - layout.place % terms.segment
    end = np.minimum(first + terms.segment - 1, last)
    return Earned(np.nan_to_num(values[end] - before[first]), values)
