"""A report with digests is the report without them, whatever happened to either."""

import os
from pathlib import Path

import pytest
from fakehome import FakeHome, read_lines, write_lines

from capo_bench.analysis.collect import collect
from capo_bench.analysis.critics import measure_critics
from capo_bench.analysis.digest import SETTLED_SECONDS, read_or_make
from capo_bench.pages.page import render_html
from capo_bench.pages.report import Report, build_report
from capo_bench.store.records import DamagedFileError


def settle(folder: Path) -> None:
    """Let every file look as if it had not changed for an hour."""
    for path in folder.rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - 3600
            os.utime(path, (moment, moment))


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, int]:
        self.calls += 1
        return {"calls": self.calls}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    path.write_text("one", encoding="utf-8")
    settle(tmp_path)
    return path


def test_it_is_made_once_of_the_same_files(tmp_path: Path, file: Path):
    make, at = Counted(), tmp_path / "digests" / "a.json"
    assert [read_or_make(at, [file], make) for _ in range(3)] == [{"calls": 1}] * 3


@pytest.mark.parametrize("how", ["size", "time", "another file", "gone", "more"])
def test_it_is_made_anew_when_a_file_or_what_else_decides_it_changed(tmp_path: Path, file: Path, how: str):
    make, at = Counted(), tmp_path / "digests" / "a.json"
    read_or_make(at, [file], make, "x")
    found = file.stat()
    if how == "size":
        file.write_text("longer", encoding="utf-8")
        os.utime(file, ns=(found.st_mtime_ns, found.st_mtime_ns))
    elif how == "time":
        os.utime(file, ns=(found.st_mtime_ns, found.st_mtime_ns + 1))
    elif how == "another file":
        other = tmp_path / "other"
        other.write_text("two", encoding="utf-8")
        os.utime(other, ns=(found.st_mtime_ns, found.st_mtime_ns))
        other.replace(file)
    elif how == "gone":
        file.unlink()
    assert read_or_make(at, [file], make, "y" if how == "more" else "x") == {"calls": 2}


@pytest.mark.parametrize("how", ["empty", "no digest", "another key", "torn", "changed"])
def test_a_digest_that_is_none_is_made_anew(tmp_path: Path, file: Path, how: str):
    at, make = tmp_path / "a.json", Counted()
    read_or_make(at, [file], make)
    kept = at.read_bytes()
    damaged = {"empty": b"", "no digest": b"{", "another key": b"0" + kept, "torn": kept[:-3]}
    at.write_bytes(damaged.get(how, kept.replace(b'{"calls": 1}', b'{"calls": 9}')))
    assert read_or_make(at, [file], make) == {"calls": 2}
    assert read_or_make(at, [file], make) == {"calls": 2}, "it is kept again"


def test_of_a_file_that_may_change_once_more_unseen_none_is_kept(tmp_path: Path, file: Path):
    assert SETTLED_SECONDS > 0.01  # the tick of a file's clock
    os.utime(file)
    make, at = Counted(), tmp_path / "a.json"
    read_or_make(at, [file], make)
    assert not at.exists()
    assert read_or_make(at, [file], make) == {"calls": 2}


def test_where_none_can_be_kept_the_value_is_there_all_the_same(tmp_path: Path, file: Path):
    (tmp_path / "no folder").write_text("", encoding="utf-8")
    assert read_or_make(tmp_path / "no folder" / "a.json", [file], Counted()) == {"calls": 1}
    assert read_or_make(None, [file], Counted()) == {"calls": 1}


@pytest.fixture
def settled(fake: FakeHome) -> FakeHome:
    fake.finish()
    settle(fake.home.path)
    return fake


def shown(report: Report) -> list[object]:
    return [render_html(report.page), report.critics, report.page.figures]


def test_the_second_report_is_the_first_and_that_is_the_one_without_digests(settled: FakeHome):
    first = build_report(settled.plan(), settled.home)
    drawn = shown(first)
    kept = {path.name for path in settled.home.digests.iterdir()}
    assert "fake.critics.json" in kept
    assert len(kept) == 1 + len(settled.plan().trials)
    again = build_report(settled.plan(), settled.home)
    assert shown(again) == drawn
    bare = collect(settled.plan(), settled.home)
    assert again.results == bare
    assert [run.scores for run in again.results.all_runs()] == [run.scores for run in bare.all_runs()]
    assert measure_critics(bare) == first.critics


def test_the_second_report_reads_no_samples_and_no_rollouts(settled: FakeHome, monkeypatch: pytest.MonkeyPatch):
    first = shown(build_report(settled.plan(), settled.home))
    opened: list[str] = []
    for name in ("read_bytes", "read_text", "open"):
        real = getattr(Path, name)

        def spy(self: Path, *args: object, _real: object = real, **more: object) -> object:
            opened.append(self.name)
            return _real(self, *args, **more)  # type: ignore[operator]

        monkeypatch.setattr(Path, name, spy)
    assert shown(build_report(settled.plan(), settled.home)) == first
    assert not [name for name in opened if name == "samples.jsonl" or name.endswith(".gz") or name == "steps.jsonl"]


def test_samples_that_change_change_the_report(settled: FakeHome):
    before = build_report(settled.plan(), settled.home).summary.row("majority")
    trial = next(trial for trial in settled.plan().trials if trial.variant == "majority")
    path = settled.home.trial(trial.id).samples("coins_test")
    write_lines(path, [{**record, "correct": True} for record in read_lines(path)])
    after = build_report(settled.plan(), settled.home).summary.row("majority")
    assert after.cells["coins_test/accuracy"].value.mean > before.cells["coins_test/accuracy"].value.mean
    assert after == summary_without_digests(settled).row("majority")


def summary_without_digests(fake: FakeHome):
    from capo_bench.analysis.summary import summarise

    return summarise(collect(fake.plan(), fake.home))


def test_a_file_that_was_damaged_since_is_told(settled: FakeHome):
    build_report(settled.plan(), settled.home)
    trial = settled.plan().trials[0]
    with settled.home.trial(trial.id).samples("coins_test").open("a", encoding="utf-8") as out:
        out.write('{"torn')
    with pytest.raises(DamagedFileError, match=r"samples.jsonl:321: not JSON"):
        build_report(settled.plan(), settled.home)


def test_another_study_of_the_same_trials_that_asks_for_more_is_not_given_less(settled: FakeHome):
    build_report(settled.plan(), settled.home)
    other = FakeHome(settled.path, study=settled.study.replace("wrong_step_rate]", "flawed_right]"))
    with_digests = collect(other.plan(), other.home, digests=other.home.digests)
    assert with_digests == collect(other.plan(), other.home)
    assert "coins_test/flawed_right" in with_digests.all_runs()[0].scores
