import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from capo_bench.store.errors import RunError, StudyLockedError
from capo_bench.store.lock import hold_lock, is_locked, wait_for_lock

HOLD = """
import sys, time
from pathlib import Path
from capo_bench.store.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock."""
    path = tmp_path / "demo" / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    yield path, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_runner_is_told_who_holds_the_lock_and_how_to_stop_it(holder):
    path, process = holder
    with pytest.raises(StudyLockedError) as error, hold_lock(path):
        pass
    assert re.search(
        rf"demo: this study is being run by process {process.pid} on \S+ since \d{{4}}-.*kill -INT {process.pid}",
        str(error.value),
    )


def test_a_crash_of_the_holder_releases_the_lock(holder):
    path, process = holder
    assert is_locked(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_locked(path)
    with hold_lock(path):
        assert is_locked(path)


def test_the_lock_is_free_after_an_error_inside(tmp_path):
    with pytest.raises(OSError, match="inside"), hold_lock(tmp_path / "lock"):
        raise OSError("inside")
    assert not is_locked(tmp_path / "lock")


def test_a_look_at_the_lock_does_not_make_it(tmp_path):
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=r"runs/lock.*--home"), hold_lock(tmp_path / "runs" / "lock"):
        pass


def test_waiting_tells_once_and_ends_when_the_lock_is_free(tmp_path):
    path, told = tmp_path / "lock", []
    free = threading.Event()
    held = threading.Event()

    def hold():
        with hold_lock(path):
            held.set()
            free.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def tell():
        told.append("waiting")
        free.set()

    with wait_for_lock(path, stop=lambda: False, waiting=tell) as got:
        assert got
    thread.join()
    assert told == ["waiting"]


def test_a_stop_ends_the_waiting_without_the_lock(holder):
    path, _ = holder
    with wait_for_lock(path, stop=lambda: True, waiting=lambda: None) as got:
        assert not got
