"""A group of four rollouts whose steps are scored in two real processes (gloo): normalised as one, stopped together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainers.credit.batch import Batch, Evidence, Layout
from trainers.credit.prm_sum import prm_sum
from trainers.credit.terms import Terms

SCRIPT = Path(__file__).with_name("prm_two_processes.py")
ROOT = Path(__file__).parents[3]


def two_processes(*arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(SCRIPT), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.nightly
def test_a_group_that_spans_two_processes_is_normalised_as_one(start: str, taught_prm: Path, tmp_path: Path) -> None:
    two_processes(start, str(taught_prm), str(tmp_path))
    seen = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    steps, tokens, scores, outcomes = (
        np.concatenate([each[name] for each in seen]) for name in ("steps", "tokens", "scores", "outcomes")
    )
    whole = Batch(Layout(steps, tokens), outcomes, 4, Evidence(scores=scores))
    expected = whole.layout.by_token(prm_sum(whole, Terms(w_whole=1.0)).advantages)
    for rank, each in enumerate(seen):
        found = each["advantages"]
        assert np.abs(found).max() > 0
        np.testing.assert_allclose(found, expected[2 * rank : 2 * rank + 2, : found.shape[1]], rtol=1e-6, atol=1e-9)


@pytest.mark.nightly
def test_processes_stop_together_when_the_model_of_one_reads_nothing(
    start: str, taught_prm: Path, tmp_path: Path
) -> None:
    two_processes(start, str(taught_prm), str(tmp_path), "0.4")
    told = [(tmp_path / f"{rank}.stopped").read_text() for rank in (0, 1)]
    assert told[0].startswith("2 of 4 rollouts of this step could not be scored (in other processes), more than")
    assert told[1].startswith("2 of 4 rollouts of this step could not be scored (too_long 2), more than")
