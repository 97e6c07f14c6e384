"""First-error credit: the tokens before the first wrong step keep the outcome reward, those from it on lose.

Source: the critic's critiques used as the labels of ProcessBench (arXiv 2412.06559) and PRM800K (arXiv 2305.20050) are
made, which end at the first error; our own, to stand beside CAPO. With e_i the first step that the vote calls wrong,
R_{i,t} = r_i · W_whole − 1[s(t) ≥ e_i] · W_process, and no charge where no step is called wrong. Of shares, as the vote
`average` gives them, R_{i,t} = r_i · W_whole − max_{s ≤ s(t)} c_{i,s} · W_process. Critiques, votes, normalisation and
update are CAPO's.
"""

from __future__ import annotations

from trainers.capo import CapoTrainer
from trainers.criticised import train_with_critic
from trainers.methods import TrainRun


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, CapoTrainer)
