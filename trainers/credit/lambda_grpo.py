"""λ-GRPO: a null hypothesis without a critic and without further sampling; steps that rollouts share count once.

Source: arXiv 2509.21154. The paper shows that GRPO on outcomes alone already has a process reward: if rollouts of a
group start with the same steps, these steps are credited with the mean outcome of those rollouts. GRPO therefore
updates a step that many rollouts share many times; λ-GRPO divides this out:

    A_{i,s} = (r_i − mean r) / std r / |λ_{i,s}|

where λ_{i,s} is the set of rollouts of the group whose text is equal up to the end of step s.

We read the abstract, not the equation. That the loss of a step is divided by the size of its set is how summaries of
the work describe it. Our sets are sets of steps, the paper's are sets of tokens.
"""

from __future__ import annotations

from trainers.credit.advantages import compute_response_advantages
from trainers.credit.batch import Batch, Earned
from trainers.credit.states import count_visits
from trainers.credit.terms import Terms


def lambda_grpo(batch: Batch, terms: Terms) -> Earned:
    """Return GRPO's advantages, each step's divided by the number of rollouts of its group that share it."""
    _, shared = count_visits(batch)
    return Earned(compute_response_advantages(batch.outcomes, batch.group_size)[batch.layout.owner] / shared)
