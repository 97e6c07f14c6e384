"""Worker processes that hang, grow, die or are killed, and what becomes of the other answers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import evals.verify
from evals.verify import process
from evals.verify.pool import CHUNK, Pool, WorkerStartError
from evals.verify.process import WALL, WorkerProcess

GOOD = ("0.5", r"\frac{1}{2}")
BAD = ("0.4", r"\frac{1}{2}")
HANGS = (r"\prod_{i=1}^{10^8} i", "5")
TOWER = ("9^{9^9}", "5")  # one C call that holds the interpreter's lock
DEADLINE = 0.6


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(workers=1, deadline_s=DEADLINE, memory_mb=512)
    yield made
    made.close()


def words(pool: Pool, tasks: list[tuple[str, str]]) -> list[str]:
    return [outcome.word for outcome in pool.run(tasks)]


def test_a_hanging_answer_costs_its_chunk_nothing(pool: Pool) -> None:
    outcomes = pool.run([GOOD, HANGS, BAD, GOOD])
    assert [outcome.word for outcome in outcomes] == ["right", "timeout", "wrong", "right"]
    assert DEADLINE <= outcomes[1].seconds < WALL * DEADLINE + 1.0


def test_the_deadline_is_each_answers_own(pool: Pool) -> None:
    assert words(pool, [TOWER, GOOD, TOWER]) == ["timeout", "right", "timeout"]


@pytest.mark.parametrize(
    "hostile", ["(10^8)!", r"\frac{1}{" * 15 + "2" + "}" * 15, r"\sqrt" * 190 + "2", "-" * 900 + "5"]
)
def test_no_hostile_answer_changes_its_neighbours(pool: Pool, hostile: str) -> None:
    before, hurt, after = pool.run([GOOD, (hostile, "5"), BAD])
    assert (before.word, after.word) == ("right", "wrong")
    assert hurt.word in ("wrong", "timeout", "memory")
    assert hurt.seconds < WALL * DEADLINE + 1.0


def test_several_workers_share_several_chunks() -> None:
    tasks = [(f"{number}/97", r"\frac{7}{97}") for number in range(2 * CHUNK + 3)]
    pool = Pool(workers=2, deadline_s=5.0, memory_mb=512)
    try:
        assert words(pool, tasks) == ["right" if number == 7 else "wrong" for number in range(len(tasks))]
        assert len(pool.pids()) == 2
    finally:
        pool.close()


def test_processes_start_when_needed_and_stay(pool: Pool) -> None:
    assert pool.pids() == []
    assert words(pool, [GOOD]) == ["right"]
    pids = pool.pids()
    assert words(pool, [BAD]) == ["wrong"]
    assert pool.pids() == pids


def test_a_worker_killed_in_mid_answer_is_a_crash_of_that_answer_alone() -> None:
    pool = Pool(workers=1, deadline_s=30.0, memory_mb=512)
    assert words(pool, [GOOD]) == ["right"]
    [pid] = pool.pids()
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.extend(words(pool, [GOOD, HANGS, BAD, GOOD])))
    asking.start()
    worker = pool._workers[0]
    assert eventually(lambda: list(worker.in_flight) == [1, 2, 3])
    os.kill(pid, signal.SIGKILL)
    asking.join(timeout=60)
    assert found == ["right", "crash", "wrong", "right"]
    assert pool.pids() != [pid]
    pool.close()


def test_a_worker_killed_while_idle_is_replaced(pool: Pool) -> None:
    assert words(pool, [GOOD]) == ["right"]
    [pid] = pool.pids()
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not alive(pid))
    assert words(pool, [GOOD, BAD]) == ["right", "wrong"]


def test_a_worker_whose_own_alarm_went_off_is_a_timeout(pool: Pool) -> None:
    assert words(pool, [GOOD]) == ["right"]
    worker = pool._workers[0]
    os.kill(worker.pid, signal.SIGPROF)
    assert worker.take() is None
    assert worker.end() == "timeout"


def test_time_that_a_worker_had_no_processor_does_not_count(pool: Pool) -> None:
    assert words(pool, [GOOD]) == ["right"]
    worker = pool._workers[0]
    os.kill(worker.pid, signal.SIGSTOP)
    assert worker.give([(0, GOOD)])
    time.sleep(0.3)
    assert not worker.overdue(0.2)
    assert worker.overdue(0.02)  # by the clock, which stands behind
    os.kill(worker.pid, signal.SIGCONT)
    assert worker.take() == "right"
    worker.in_flight.clear()


def test_an_answer_that_was_too_slow_is_tried_again_alone(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    late = iter([True])
    monkeypatch.setattr(WorkerProcess, "overdue", lambda self, deadline_s: next(late, False))
    slow = ("(x+y+z)^{30}", "(z+y+x)^{30}")
    assert words(pool, [GOOD, slow, BAD]) == ["right", "right", "wrong"]
    assert next(late, None) is None


def test_an_answer_that_grows_past_the_memory_is_an_abstention() -> None:
    pool = Pool(workers=1, deadline_s=60.0, memory_mb=256)
    try:
        assert words(pool, [GOOD, ("f(x)+(x+y+z+w)^{200}", "x^2+y"), BAD]) == ["right", "memory", "wrong"]
    finally:
        pool.close()


def test_interrupts_do_not_reach_a_worker(pool: Pool) -> None:
    assert words(pool, [GOOD]) == ["right"]
    pids = pool.pids()
    os.kill(pids[0], signal.SIGINT)
    assert words(pool, [BAD]) == ["wrong"]
    assert pool.pids() == pids


def test_close_leaves_no_process_and_the_pool_can_be_used_again(pool: Pool) -> None:
    assert words(pool, [GOOD]) == ["right"]
    pids = pool.pids()
    pool.close()
    assert not any(alive(pid) for pid in pids)
    assert pool.pids() == []
    assert words(pool, [GOOD]) == ["right"]


def test_workers_that_cannot_start_are_an_error_not_a_verdict(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "worker.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(process, "_WORKER", broken)
    with pytest.raises(WorkerStartError, match="no verifier process could be started, 3 attempts"):
        pool.run([GOOD])
    assert pool.pids() == []


def test_a_failed_import_in_a_worker_is_named(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('no parser here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerStartError, match="ImportError: no parser here"):
        pool.run([GOOD])


@pytest.mark.parametrize("answer", [GOOD[0], HANGS[0], TOWER[0]])
def test_no_worker_outlives_a_parent_that_is_killed(answer: str) -> None:
    code = (
        "from evals.verify.pool import Pool\n"
        "pool = Pool(1, 1.0, 512)\n"
        rf"pool.run([('0.5', '\\frac12')]); print(pool.pids()[0], flush=True)"
        f"\npool.run([({answer!r}, '5')])\n"
        "import time; time.sleep(60)"
    )
    root = Path(evals.verify.__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert alive(worker)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not alive(worker), seconds=15.0)


def test_a_worker_given_to_after_death_holds_nothing() -> None:
    worker = WorkerProcess(1.0, 512 * 2**20)
    os.kill(worker.pid, signal.SIGKILL)
    assert eventually(lambda: not alive(worker.pid))
    assert worker.give([(0, GOOD)]) is False
    assert not worker.in_flight
    assert worker.resident_bytes() == 0
    assert worker.end() == "crash"
