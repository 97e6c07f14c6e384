"""The report's files."""

from pathlib import Path

import pytest
from fakehome import STUDY, FakeHome

from capo_bench.pages.page import render_markdown
from capo_bench.pages.report import NothingToReportError, Report, build_report, write_report


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_are_where_the_study_keeps_them(full: FakeHome):
    paths = write_report(build_report(full.plan(), full.home), full.home.study("fake").profile("quick").report)
    folder = full.home.study("fake").profile("quick").report
    assert set(tree(folder)) == {
        "report.html",
        "report.md",
        "table.csv",
        *(f"figures/{name}.svg" for name in FIGURES),
        *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "tex")),
    }
    assert [path.name for path in paths[:3]] == ["report.html", "report.md", "table.csv"]
    assert len(paths[3:]) == len(FIGURES)


FIGURES = (*("differences", "sharpening", "learning_curves", "wrong_steps", "cost", "precision_recall"),)
TABLES = (
    *("01-coins-test-accuracy", "02-coins-test-wrong-step-rate"),
    *("03-coins-test-right-answers-in-t-1", "04-verdicts"),
    *("05-power-on-coins-test-accuracy-of-the-comparisons-", "06-votes-of-the-critics-against-the-exact-checker-o"),
    *("07-what-the-critics-did-all-trials-together", "08-what-the-critics-cost-all-trials-together"),
    "09-cost-of-training",
)


def test_the_same_results_give_the_same_bytes(full: FakeHome):
    folder = full.home.study("fake").profile("quick").report
    write_report(build_report(full.plan(), full.home), full.home.study("fake").profile("quick").report)
    before = tree(folder)
    write_report(build_report(full.plan(), full.home), full.home.study("fake").profile("quick").report)
    assert tree(folder) == before


def test_figures_that_are_no_longer_drawn_go_and_other_files_stay(fake: FakeHome):
    fake.finish("cold_start")
    figures = fake.home.study("fake").profile("quick").report / "figures"
    figures.mkdir(parents=True)
    for name in ("differences.svg", "notes.txt"):
        (figures / name).write_text("old", encoding="utf-8")
    write_report(build_report(fake.plan(), fake.home), fake.home.study("fake").profile("quick").report)
    assert not (figures / "differences.svg").exists()
    assert (figures / "notes.txt").exists()


def test_nothing_finished_is_said_and_nothing_is_written(fake: FakeHome):
    with pytest.raises(NothingToReportError, match=r"none of the 12 trials of study 'fake' \(profile 'quick'\)"):
        write_report(build_report(fake.plan(), fake.home), fake.home.study("fake").profile("quick").report)
    assert not fake.home.study("fake").path.exists()


def test_the_markdown_holds_the_whole_story(report: Report):
    shown = render_markdown(report.page)
    for told in (
        "# fake",
        "12 of 12 trials finished",
        "**intersection beats grpo\\_rule on coins\\_test/accuracy",
        "## Read with care",
        "| variant | seeds × problems |",
        "](figures/differences.svg)",
        "| git.commit | c56f98b |",
    ):
        assert told in shown
    assert "Missing" not in shown


def test_the_markdown_of_a_partial_study_names_what_is_missing(fake: FakeHome):
    fake.study = STUDY.replace("question: Which", "question: <script>x</script> Which")
    fake.finish(seeds=(0,))
    paths = write_report(build_report(fake.plan(), fake.home), fake.home.study("fake").profile("quick").report)
    shown = paths[1].read_text(encoding="utf-8")
    assert "## Missing trials" in shown
    assert "- grpo\\_rule, seed 1 (" in shown
    assert "<script>" not in shown.replace("\\<", "")
