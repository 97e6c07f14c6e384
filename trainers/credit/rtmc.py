"""RTMC: Monte Carlo over the states that a group's own rollouts share, without a critic and without further sampling.

Source: arXiv 2604.11037. The rollouts of a group form a tree. The value of a state is the mean outcome of the rollouts
that pass through it, and the advantage of a step is its change of this value:

    Q_{i,s} = mean of r_j over the rollouts j of the group that share i's state after step s
    A_{i,s} = Q_{i,s} − Q_{i,s−1},  Q_{i,−1} = mean r of the group

We read the abstract, not the equations. There is no division by the standard deviation here, as there is none in a
difference of values. A state is the text so far; the paper's signatures compress it further, which matters for agents
with tools. Once a rollout shares its state with no other, its later steps have an advantage of 0: all credit goes to
the step at which it left the others.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.batch import Batch, Earned
from trainers.credit.states import count_visits
from trainers.credit.terms import Terms


def rtmc(batch: Batch, terms: Terms) -> Earned:
    """Return each step's change of the mean outcome of the rollouts that share its state."""
    layout, size = batch.layout, batch.group_size
    place, _ = count_visits(batch)
    outcomes = batch.outcomes[layout.owner]
    verified = ~np.isnan(outcomes)
    right = np.bincount(place, np.nan_to_num(outcomes), minlength=int(place.max(initial=-1)) + 1)
    counted = np.bincount(place, verified, minlength=len(right))
    values = (right / np.maximum(counted, 1))[place]
    groups = batch.outcomes.reshape(-1, size)
    heard = ~np.isnan(groups)
    means = np.nansum(groups, axis=1) / np.maximum(heard.sum(axis=1), 1)
    before = np.concatenate([[0.0], values[:-1]])
    before = np.where(layout.place == 0, means[layout.owner // size], before[: len(values)])
    return Earned(np.where(verified, values - before, 0.0), values)
