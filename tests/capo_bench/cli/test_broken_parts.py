"""A part of another package that fails when it is imported is one sentence, found by `validate`, whatever its kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals.benchmarks import BENCHMARKS
from trainers.credit.normalization import NORMALIZATIONS
from trainers.credit.segment import SEGMENTERS
from trainers.credit.votes import VOTES
from trainers.critics import CRITICS
from trainers.methods import METHODS

STUDY = """
name: broken
question: Is it found?
baseline: b
metrics: [coins_test/accuracy]
base: {method: capo}
include:
  - {name: b, set: {%s: broken}}
"""
KINDS = {
    "method": METHODS, "critic.name": CRITICS, "credit.vote": VOTES, "credit.normalization": NORMALIZATIONS,
    "credit.segmenter": SEGMENTERS, "benchmark": BENCHMARKS,
}  # fmt: skip


@pytest.mark.parametrize("error", ["ZeroDivisionError: division by zero"])
@pytest.mark.parametrize("key", KINDS)
def test_validate_names_it(tmp_path: Path, key: str, error: str) -> None:
    (tmp_path / "brokenparts.py").write_text("1 / 0\n\n\ndef part():\n    pass\n", encoding="utf-8")
    info = tmp_path / "brokenparts-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brokenparts\nVersion: 1\n", encoding="utf-8")
    points = f"[{KINDS[key].group}]\nbroken = brokenparts:part\n"  # type: ignore[attr-defined]
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(STUDY % key, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    done = subprocess.run(
        [sys.executable, "-m", "capo_bench", "validate", "study.yaml"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert "brokenparts" in said
    assert error in said


@pytest.mark.parametrize("words", [["ls"], ["--help"], ["validate", "voting"]])
def test_a_full_disk_behind_standard_output_is_a_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "capo_bench", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
