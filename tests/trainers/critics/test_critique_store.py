"""Critiques on disk: whole or absent whatever happens to the processes, bounded, and never a reason to fail."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.critics import store as store_module
from trainers.critics.store import CritiqueStore, Kept, measure_store, pack, set_limit, unpack

HOUR = 3600


def key(number):
    return hashlib.sha256(str(number).encode()).digest()


def critique(number, size=40):
    """A critique that says which one it is, with text that does not compress."""
    text = random.Random(number).randbytes(size).hex()
    return Critique(frozenset({number}), None, text, Usage(number, 1, 2, 0.5, 0.25))


def keep(store, numbers, size=40):
    store.write({(key(number), 0): critique(number, size) for number in numbers})


def held(store, numbers):
    found = store.read([key(number) for number in numbers], range(1))
    return {number for number in numbers if (key(number), 0) in found}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "critiques.sqlite"


@pytest.fixture
def store(path):
    opened = CritiqueStore(path)
    yield opened
    opened.close()


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


def test_what_is_kept_is_read_by_another(store, path):
    store.write({(key(1), 0): critique(1), (key(1), 2): critique(2), (key(3), 0): Critique(None, "no_list", "hm")})
    other = CritiqueStore(path)
    assert other.read([key(1), key(3), key(4)], range(3)) == {
        (key(1), 0): critique(1),
        (key(1), 2): critique(2),
        (key(3), 0): Critique(None, "no_list", "hm"),
    }
    assert other.read([key(1)], range(1, 2)) == {}
    other.close()


@given(
    st.one_of(st.frozensets(st.integers(0, 500)), st.sampled_from(["empty", "refusal"])),
    st.text(st.characters()),
    st.builds(Usage, *[st.integers(0, 10**12)] * 3, *[st.floats(0, 1e6)] * 2),
)
def test_a_critique_is_the_same_after_keeping(verdict, text, usage):
    before = Critique(None, verdict, text, usage) if isinstance(verdict, str) else Critique(verdict, None, text, usage)
    assert unpack(pack(before)) == before


@given(st.one_of(st.binary(), st.integers(0, 80).map(lambda cut: pack(critique(1))[:cut])))
def test_a_damaged_record_is_none(record):
    assert unpack(record) is None


def test_a_damaged_record_is_asked_for_again_and_mended(store, path):
    keep(store, [1, 2])
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE critiques SET record = x'00' WHERE solution = ?", (key(1),))
    assert held(store, [1, 2]) == {2}
    keep(store, [1])
    assert held(store, [1, 2]) == {1, 2}


def test_how_much_is_kept(store, path):
    keep(store, range(10))
    told = measure_store(path)
    assert told.critiques == 10
    assert told.limit == 2 * 2**30
    assert path.stat().st_size <= told.size < 2**20
    assert measure_store(path.with_name("none.sqlite")) is None


def test_the_least_recently_used_go_first(path):
    clock = Clock()
    store = CritiqueStore(path, clock)
    set_limit(path, 2**20)
    for number in range(3):
        keep(store, range(1000 * number, 1000 * number + 50), size=4000)
        clock.now += 2 * HOUR
    assert held(store, range(50)) == set(range(50))  # read now, so the oldest are those of 1000
    clock.now += 2 * HOUR
    with store_evicting(50):
        keep(store, range(3000, 3100), size=4000)
    assert held(store, range(1000, 1050)) == set()
    assert held(store, range(50)) == set(range(50))
    assert held(store, range(3000, 3100)) == set(range(3000, 3100))
    store.close()


def store_evicting(at_once):
    patch = pytest.MonkeyPatch()
    patch.setattr(store_module, "EVICTED_AT_ONCE", at_once)
    return closing(_Undo(patch))


class _Undo:
    def __init__(self, patch):
        self.close = patch.undo


def test_reading_marks_as_used_once_an_hour(path):
    clock = Clock()
    store = CritiqueStore(path, clock)
    keep(store, [1])
    marks = []
    for _ in range(4):
        clock.now += 0.4 * HOUR
        held(store, [1])
        with closing(sqlite3.connect(path)) as file:
            marks.append(file.execute("SELECT used FROM critiques").fetchone()[0] - 1_000_000)
    assert marks == [0, 0, int(1.2 * HOUR), int(1.2 * HOUR)]
    store.close()


def test_the_file_keeps_to_its_limit(store, path):
    set_limit(path, limit := 2**20)
    largest = 0
    for batch in range(40):
        keep(store, range(batch * 50, batch * 50 + 50), size=1500)  # 40 batches of 150 kB
        largest = max(largest, measure_store(path).size)
    log = store_module.WAL_BYTES / 4  # SQLite folds its log into the file at 4 MiB
    assert path.stat().st_size <= limit + 50 * 4000
    assert largest <= limit + log + 2**20
    assert held(store, range(1950, 2000)) == set(range(1950, 2000))


def test_a_lower_limit_frees_the_disk_and_holds_for_all(store, path):
    keep(store, range(1000), size=4000)
    set_limit(path, 2**20)
    told = measure_store(path)
    assert told.limit == 2**20
    assert told.size < 1.2 * 2**20
    keep(store, range(2000, 3000), size=4000)
    assert measure_store(path).critiques < 500


def test_a_limit_of_nothing_keeps_nothing(store, path):
    set_limit(path, 0)
    keep(store, range(100))
    assert measure_store(path).critiques == 0
    assert held(store, range(100)) == set()


def broken(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this was never a database" * 400)


def torn(path):
    """Half of a file whose other half is lost."""
    store = CritiqueStore(path)
    keep(store, range(500), size=2000)
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def newer(path):
    CritiqueStore(path).close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


def a_folder(path):
    path.mkdir(parents=True)


def below_a_file(path):
    path.parent.write_text("no folder")


@pytest.mark.parametrize("spoil", [broken, torn, newer, a_folder, below_a_file])
def test_a_file_that_cannot_be_used_is_told_once_and_gone_without(path, spoil, caplog):
    spoil(path)
    store = CritiqueStore(path)
    for _ in range(3):
        keep(store, range(20))
        assert held(store, range(20)) <= set(range(20))
    store.close()
    assert 1 <= len(caplog.records) <= 2  # reading and writing each give up once
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    ("why", "pragma"), [("readonly", "PRAGMA query_only = 1"), ("full", "PRAGMA max_page_count = 1")]
)
def test_a_file_that_cannot_be_written_is_still_read(store, why, pragma, caplog):
    keep(store, [1])
    store._connection.execute(pragma)
    for _ in range(3):
        keep(store, range(2, 500), size=4000)
        assert held(store, [1, 2]) == {1}
    assert [why in record.getMessage() for record in caplog.records] == [True]


def test_a_file_that_others_hold_for_long_is_gone_without(path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.05)
    store = CritiqueStore(path)
    keep(store, [1])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        keep(store, [2])
        keep(store, [3])
        assert held(store, [1, 2, 3]) == {1}
    assert len(caplog.records) == 1
    assert "locked" in caplog.text
    store.close()


def test_two_stores_of_one_file_take_turns(store, path):
    other = CritiqueStore(path)
    for number in range(0, 100, 2):
        keep(store, [number])
        keep(other, [number + 1])
    assert held(store, range(100)) == held(other, range(100)) == set(range(100))
    other.close()


def test_after_closing_it_says_nothing_and_keeps_nothing(path, caplog):
    store = CritiqueStore(path)
    store.close()
    store.close()
    keep(store, [1])
    assert held(store, [1]) == set()
    assert not caplog.records


def _work(path, seed, opened):
    """Read and write at random, for ever; a record that is not whole ends it."""
    drawn = random.Random(seed)
    while True:
        store = CritiqueStore(path)
        opened.set()
        for _ in range(20):
            numbers = drawn.sample(range(2000), 40)
            keep(store, numbers[:20], size=1500)
            found = store.read([key(number) for number in numbers], range(1))
            for number in numbers:
                assert found.get((key(number), 0)) in (None, critique(number, 1500))
        if store._given_up:
            os._exit(3)
        store.close()


def test_processes_that_are_killed_at_any_moment_leave_a_whole_file(path):
    spawn = multiprocessing.get_context("spawn")
    drawn = random.Random(0)

    def start(seed):
        opened = spawn.Event()
        process = spawn.Process(target=_work, args=(path, seed, opened))
        process.start()
        return process, opened

    workers = [start(seed) for seed in range(3)]  # all at once on a file that is not there yet
    for _, opened in workers:
        assert opened.wait(60)
    set_limit(path, 2 * 2**20)  # about 1,000 of the 2,000 critiques, so that they evict all the while
    for kill in range(9):
        time.sleep(drawn.uniform(0, 0.3))
        process, opened = workers.pop(0)
        assert process.exitcode is None, "a worker gave up, or read what is not whole"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if kill < 6:
            workers.append(start(10 + kill))
    for process, _ in workers:
        process.kill()
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = file.execute("SELECT solution, record FROM critiques").fetchall()
    expected = {key(number): number for number in range(2000)}
    assert len(rows) > 100
    assert all(unpack(record) == critique(expected[solution], 1500) for solution, record in rows)
    assert measure_store(path).critiques == len(rows)
    assert isinstance(measure_store(path), Kept)
