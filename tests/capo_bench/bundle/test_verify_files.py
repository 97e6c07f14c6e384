"""Files against the checksums of what left them, beyond a study's trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakehome import FakeHome

from capo_bench.store.ledger import Ledger
from capo_bench.verify.checks import Check
from capo_bench.verify.study import check_study_files
from evals.checksums import seal


@pytest.mark.parametrize("place", ["evals/policy-0123/tasks/coins_test/samples.jsonl", "critics/ab/result.json"])
def test_a_flipped_byte_of_an_evaluation_or_a_critics_measurement_is_found(fake: FakeHome, place: str) -> None:
    path: Path = fake.home.path / place
    path.parent.mkdir(parents=True)
    path.write_text("as it was")
    seal(path.parent, [path.name])
    (path.parent / "page.html").write_text("listed nowhere, and read by nobody")
    plan, check = fake.plan(), Check()
    Ledger(fake.home.study(plan.study).ledger).append("study_started", profile="quick", plan=[])
    check_study_files(check, plan, fake.home)
    assert (check.compared, check.mismatches) == (1, [])
    path.write_text("As it was")
    check_study_files(check, plan, fake.home)
    assert [mismatch.where for mismatch in check.mismatches] == [f"{place}: sha256"]
