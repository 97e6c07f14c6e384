import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_bench.store.errors import RunError
from capo_bench.store.ledger import Ledger, TrialEntry, fold


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
    assert ledger.path.read_bytes().count(b"\n") == 2
    assert ledger.damaged() == []


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_record_with_a_flipped_bit_is_named_and_passed_over(data):
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        written = [
            ledger.append("study_started", profile="quick", plan=["a"]),
            ledger.append("trial_done", trial="a", seconds=1.5),
            ledger.append("study_finished", profile="quick", tracked=True),
        ]
        whole = bytearray(ledger.path.read_bytes())
        place, bit = data.draw(st.integers(0, len(whole) - 2)), data.draw(st.integers(0, 7))
        number = whole[:place].count(b"\n")
        whole[place] ^= 1 << bit
        ledger.path.write_bytes(bytes(whole))
        assert all(record in written for record in ledger.read())
        assert len(ledger.read()) < 3
        assert any(f"ledger.jsonl:{number + 1}: damaged" in line for line in ledger.damaged())
        fold(ledger.read())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file, no folder")
    with pytest.raises(RunError, match=r"runs/ledger.jsonl: cannot record 'study_started'.*run again"):
        Ledger(tmp_path / "runs" / "ledger.jsonl").append("study_started")


APPEND_UNTIL_FULL = """
import resource, sys
from pathlib import Path
from capo_bench.store.errors import RunError
from capo_bench.store.ledger import Ledger
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
    assert len(before) == 4  # of 220 bytes or so
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
    assert (state.failure, state.failed) == ("b", state.trials["b"])


def label(trial, **more):
    return {"trial": trial, "variant": "v", "seed": 0, **more}


def test_a_retry_is_folded_to_the_next_attempt_and_a_new_run_counts_from_one():
    records = [
        {"event": "study_started", "profile": "quick", "plan": ["a"], "time": "1"},
        {"event": "trial_started", **label("a")},
        {"event": "trial_retried", **label("a", attempt=1, error="lost", cause="lost", delay=0.0), "time": "2"},
        {"event": "trial_started", **label("a")},
        {"event": "trial_stopped", **label("a", seconds=4.0)},
        {"event": "study_started", "profile": "quick", "plan": ["a"], "time": "3"},
        {"event": "trial_started", **label("a")},
        {"event": "trial_done", **label("a", seconds=6.0)},
    ]
    seen = [fold(records[: number + 1]).trials.get("a") for number in range(len(records))]
    assert [(entry.state, entry.attempt, entry.retries) for entry in seen if entry] == [
        ("started", 1, 0),
        ("retried", 1, 1),
        ("started", 2, 1),
        ("stopped", 2, 1),
        ("stopped", 2, 1),
        ("started", 1, 1),
        ("done", 1, 1),
    ]
    assert seen[-1].seconds == 10.0
    state = fold(records)
    assert (state.started, state.ended, state.failed.time, state.failed.error) == ("3", 1, "2", "lost")


def test_events_and_fields_of_a_newer_version_are_passed_over():
    known = [
        {"event": "study_started", "profile": "quick", "plan": ["a"], "colour": "red"},
        {"event": "trial_started", **label("a", node="n7")},
    ]
    newer = [
        {"event": "trial_migrated", **label("a")},
        {"event": "trial_", **label("a")},
        {"event": "study_paused", "why": "lunch"},
        {"event": "trial_done"},
    ]
    assert fold([*known, *newer]) == fold(known)


@pytest.mark.parametrize("line", [b"[]", b'{"event": 7}', b'{"time": "now"}', b"\xff\xfe", b'"event"', b"null"])
def test_a_line_that_is_no_record_is_passed_over(ledger, line):
    first = ledger.append("trial_started", trial="a")
    with ledger.path.open("ab") as file:
        file.write(line + b"\n")
    assert ledger.read() == [first]


moves = st.lists(
    st.tuples(st.sampled_from(["started", "retried", "done", "failed", "stopped"]), st.sampled_from("abc")), max_size=4
)


@settings(deadline=None, max_examples=6)
@given(moves)
def test_cut_at_any_byte_a_ledger_folds_to_what_its_whole_records_say(events):
    """No cut invents an end: what a cut takes from the record is pending, what it leaves is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        records = [ledger.append("study_started", profile="quick", plan=["a", "b", "c"])]
        records += [ledger.append(f"trial_{state}", **label(trial)) for state, trial in events]
        whole = ledger.path.read_bytes()
        ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
        for cut in range(len(whole) + 1):
            ledger.path.write_bytes(whole[:cut])
            count = sum(end <= cut for end in ends)  # a record is whole without its line end, too
            assert fold(ledger.read()) == fold(records[:count])


def test_two_read_while_one_writes_and_see_only_whole_records_in_order(ledger):
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READ_UNTIL_END, str(ledger.path)],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for reader in readers:
        assert reader.stdout.readline() == "ready\n"
    for number in range(200):
        ledger.append("trial_done", trial=str(number), error="é" * 500)
    ledger.append("study_finished")
    for reader in readers:
        assert reader.communicate(timeout=60)[0] == "201\n"


READ_UNTIL_END = """
import sys
from pathlib import Path
from capo_bench.store.ledger import Ledger
ledger, seen = Ledger(Path(sys.argv[1])), []
print("ready", flush=True)
while not seen or seen[-1]["event"] != "study_finished":
    now = ledger.read()
    assert now[:len(seen)] == seen
    assert all(record["error"] == "é" * 500 for record in now if record["event"] == "trial_done")
    seen = now
print(len(seen))
"""
