import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_bench.run.errors import RunError
from capo_bench.run.ledger import Ledger, TrialEntry, fold


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "studies" / "demo" / "ledger.jsonl")


def test_a_ledger_that_is_not_there_is_empty(ledger):
    assert ledger.read() == []


def test_records_come_back_in_order_with_event_and_time(ledger):
    written = [ledger.append("trial_started", trial="a"), ledger.append("trial_done", trial="a", seconds=1.5)]
    assert ledger.read() == written
    assert written[1]["event"] == "trial_done"
    assert written[1]["time"].endswith("+00:00")


def test_one_record_is_one_line_whatever_is_in_it(ledger):
    ledger.append("trial_failed", trial="a", error="first\nsecond é \u2028 \x85")
    assert ledger.path.read_bytes().count(b"\n") == 1
    assert ledger.read()[0]["error"] == "first\nsecond é \u2028 \x85"


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.data())
def test_after_a_crash_at_any_byte_whole_records_are_read_and_appending_goes_on(errors, data):
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        written = [ledger.append("trial_failed", trial="a", error=error) for error in errors]
        whole = ledger.path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        ledger.path.write_bytes(whole[:cut])

        left = ledger.read()
        assert left == written[: len(left)]
        # What is complete but for its line end counts; nothing else may be missing.
        assert len(left) in (whole[:cut].count(b"\n"), whole[:cut].count(b"\n") + 1)

        added = ledger.append("trial_done", trial="b")
        assert ledger.read() == [*left, added]


def test_a_torn_line_never_merges_with_the_next_record(ledger):
    first = ledger.append("trial_started", trial="a")
    with ledger.path.open("ab") as file:
        file.write(b'{"event": "trial_done", "tri')
    assert ledger.read() == [first]
    second = ledger.append("trial_failed", trial="a", error="again")
    assert ledger.read() == [first, second]
    assert [json.loads(line) for line in ledger.path.read_text().splitlines() if line.endswith("}")] == [first, second]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file, no folder")
    with pytest.raises(RunError, match=r"runs/ledger.jsonl: cannot record 'study_started'.*run again"):
        Ledger(tmp_path / "runs" / "ledger.jsonl").append("study_started")


APPEND_UNTIL_FULL = """
import resource, sys
from pathlib import Path
from capo_bench.run.errors import RunError
from capo_bench.run.ledger import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
ledger = Ledger(Path(sys.argv[1]))
try:
    while True:
        ledger.append("trial_failed", trial="a", error="x" * 100)
except RunError as error:
    sys.exit(str(error))
"""


def test_no_room_while_a_line_is_written_is_an_error_and_the_next_run_appends_after_it(ledger, tmp_path):
    """The operating system ends the file at 1000 bytes, in the middle of a record."""
    root = str(Path(__file__).parents[3])
    run = subprocess.run(
        [sys.executable, "-c", APPEND_UNTIL_FULL, str(ledger.path)],
        env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "ledger.jsonl: cannot record 'trial_failed': only" in run.stderr
    assert ledger.path.stat().st_size == 1000
    before = ledger.read()
    assert len(before) == 5  # of 190 bytes or so
    added = ledger.append("trial_done", trial="a")
    assert ledger.read() == [*before, added]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no mounts allowed here")
    try:
        ledger = Ledger(disk / "ledger.jsonl")
        written = []
        with pytest.raises(RunError, match="free space"):
            while True:
                written.append(ledger.append("trial_failed", trial="a", error="x" * 1000))
        assert len(written) >= 3
        assert ledger.read() == written
        subprocess.run(["mount", "-o", "remount,size=64k", str(disk)], check=True)
        added = ledger.append("trial_done", trial="a")
        assert ledger.read() == [*written, added]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_fold_keeps_the_last_plan_and_each_trials_last_state():
    state = fold(
        [
            {"event": "study_started", "profile": "quick", "plan": ["a"]},
            {"event": "study_finished", "profile": "quick", "tracked": True},
            {"event": "study_started", "profile": "full", "plan": ["a", "b"]},
            {"event": "trial_started", "trial": "b", "variant": "v", "seed": 2},
            {"event": "trial_failed", "trial": "b", "variant": "v", "seed": 2, "error": "E", "log": "L"},
        ]
    )
    assert (state.profile, state.plan, state.finished) == ("full", ["a", "b"], None)
    assert state.trials == {"b": TrialEntry("failed", "v", 2, "E", "L")}
