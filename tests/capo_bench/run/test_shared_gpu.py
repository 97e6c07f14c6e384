"""A GPU that a critic's server shares: whatever measures a model on it takes what is left of its memory."""

from __future__ import annotations

import pytest

from capo_bench.run.evaluation import _spec
from trainers.config import TrialConfig
from trainers.critics.serve import TAKEN


@pytest.mark.parametrize(("taken", "left"), [("", 0.9), ("0.0", 0.9), ("0.3", 0.6), ("0.95", 0.1)])
def test_an_engine_that_measures_takes_what_the_critics_server_leaves(monkeypatch, taken, left):
    monkeypatch.setenv(TAKEN, taken)
    assert _spec(TrialConfig(), "folder").gpu_memory_utilization == pytest.approx(left)
