"""Group statistics where a group of four rollouts spans two real processes (gloo)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = Path(__file__).parents[2]


def two_processes(start: str, folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(SCRIPT), start, str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_processes_stop_together_when_the_critic_of_one_fails(start: str, tmp_path: Path) -> None:
    two_processes(start, tmp_path, "0.4")
    told = [(tmp_path / f"{rank}.stopped").read_text() for rank in (0, 1)]
    assert told[0].startswith("4 of 8 critiques of this step abstained (in other processes), more than")
    assert told[1].startswith("4 of 8 critiques of this step abstained (timeout 4), more than")


@pytest.mark.nightly
def test_what_abstains_in_one_process_is_measured_against_what_all_asked(start: str, tmp_path: Path) -> None:
    two_processes(start, tmp_path, "0.5")
    assert not list(tmp_path.glob("*.stopped"))


def test_a_group_that_spans_two_processes_is_normalised_as_one(start: str, tmp_path: Path) -> None:
    two_processes(start, tmp_path)
    ranks = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    tokens = np.concatenate([rank["rewards"][rank["mask"]] for rank in ranks])
    assert len(tokens) > len(ranks[0]["rewards"][ranks[0]["mask"]]) > 0
    mean, std = tokens.mean(), tokens.std()
    assert std > 0
    for rank in ranks:
        assert rank["rewards"].shape[0] == 2  # half of the group of four
        np.testing.assert_allclose(rank["advantages"][rank["mask"]], (rank["rewards"][rank["mask"]] - mean) / std)
        alone = rank["rewards"][rank["mask"]]
        assert alone.mean() != pytest.approx(mean, abs=1e-12)  # half a group would have normalised otherwise
    assert ranks[0]["groups_process_signal_only"] == ranks[1]["groups_process_signal_only"]
    records = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [record["policy_tokens"] for record in records] == [len(tokens)] * 2

    # Each process sorts its own two rollouts into micro-batches of one; the group's advantages are known before.
    apart = tmp_path / "apart"
    apart.mkdir()
    two_processes(start, apart, "0", "1")
    for rank, record in enumerate(records):
        again = json.loads((apart / f"{rank}.json").read_text())
        for name in ("loss", "grad_norm", "entropy", "policy_tokens"):
            assert again[name] == pytest.approx(record[name], rel=1e-4, abs=1e-6), name
