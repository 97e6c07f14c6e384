"""λ-GRPO: the null hypothesis of all, no critic and no further sampling; steps that a group shares count once.

Source: arXiv 2509.21154. GRPO on outcomes alone is shown to have a process reward already: where rollouts of a group
begin alike, their common steps are credited with the mean of what came of them. What many rollouts share is so updated
many times over; λ-GRPO divides it out:

    A_{i,s} = (r_i − mean r) / std r / |λ_{i,s}|

where λ_{i,s} are the rollouts of the group that say the same up to the end of step s.

The abstract was read, not the equation itself: that the loss of a step is divided by the size of its set is how the
work is commonly told. Sets are of steps here, where the paper's are of tokens.
"""

from __future__ import annotations

from trainers.credit.advantages import response_advantages
from trainers.credit.batch import Batch, Earned
from trainers.credit.states import visits
from trainers.credit.terms import Terms


def lambda_grpo(batch: Batch, terms: Terms) -> Earned:
    """Return GRPO's advantages, each step's divided by how many rollouts of its group share it."""
    _, shared = visits(batch)
    return Earned(response_advantages(batch.outcomes, batch.group_size)[batch.layout.owner] / shared)
