"""The whole report of a study with a known truth, as a reader gets it: read the expected file as the specification.

The file is `report.md` of the finished fake study; after a wanted change, run this with CAPO_BENCH_REFRESH=1 and read
the diff.
"""

import os
from pathlib import Path

from fakehome import STUDY, FakeHome, Truth

from capo_bench.inert import for_markdown as escaped
from capo_bench.pages.page import render_markdown
from capo_bench.pages.report import Report, build_report
from capo_bench.store.home import read_json, write_json

EXPECTED = Path(__file__).parent / "expected" / "report.md"


def test_the_report_reads_as_expected(report: Report):
    if os.environ.get("CAPO_BENCH_REFRESH"):
        EXPECTED.write_text(render_markdown(report.page), encoding="utf-8")
    assert render_markdown(report.page) == EXPECTED.read_text(encoding="utf-8")


def test_the_page_has_the_power_of_every_comparison(report: Report):
    shown = render_markdown(report.page)
    assert "## Power" in shown
    assert all(escaped(cell) in shown for row in report.page.section("Power").tables[0].rows for cell in row)


def test_variants_of_one_truth_are_not_told_apart(tmp_path: Path):
    same = Truth(0.5, slip=0.3)
    fake = FakeHome(tmp_path, truths=dict.fromkeys(("cold_start", "grpo_rule", "intersection", "majority"), same))
    answer = build_report(fake.finish().plan(), fake.home).answer
    assert answer.headline.startswith(
        "Too few seeds or problems to tell: no variant beats grpo_rule on coins_test/accuracy, "
    )
    assert not any("beats" in line or "is worse" in line for line in answer.comparisons)


def test_a_worse_variant_is_called_worse(tmp_path: Path):
    fake = FakeHome(tmp_path)
    fake.truths["majority"] = Truth(0.05, slip=0.6)
    answer = build_report(fake.finish().plan(), fake.home).answer
    assert answer.headline.startswith("intersection beats grpo_rule")
    assert answer.comparisons[0].startswith("majority is worse than grpo_rule by −")


def test_with_wrong_steps_as_the_primary_metric_fewer_win(tmp_path: Path):
    study = STUDY.replace(
        "[coins_test/accuracy, coins_test/wrong_step_rate]", "[coins_test/wrong_step_rate, coins_test/accuracy]"
    )
    built = build_report((fake := FakeHome(tmp_path, study=study).finish()).plan(), fake.home)
    assert built.answer.headline.startswith("intersection beats grpo_rule on coins_test/wrong_step_rate by −")
    assert (
        built.page.tables[0].title == "coins_test/wrong_step_rate: wrong-step rate on coins_test (%), lower is better"
    )
    (cost,) = (figure for figure in built.page.figures if figure.name == "cost")
    assert "down and to the left" in cost.caption


def test_one_seed_is_said_everywhere_it_matters(fake: FakeHome):
    fake.finish(seeds=(0,))
    built = build_report(fake.plan(), fake.home)
    assert built.answer.headline.startswith("One seed decides nothing, as seed noise is unknown: ")
    assert any(line.startswith("One seed: seed noise unknown.") for line in built.answer.cautions)
    assert {row[1] for row in built.page.tables[0].rows} == {"1 × 64"}


def test_results_of_two_commits_are_called_mixed(fake: FakeHome):
    fake.finish()
    trial = fake.plan().trials[-1]
    provenance = read_json(fake.home.trial(trial.id).provenance)
    write_json(fake.home.trial(trial.id).provenance, {**provenance, "git": {"commit": "ffff", "dirty": True}})
    first, second = build_report(fake.plan(), fake.home).provenance.warnings
    assert first.startswith("Trials come from different commits or working trees (git.commit: c56f98b or ffff; ")
    assert second == "1 of 12 trials ran with uncommitted changes: their commit does not tell all."


def test_a_study_without_a_start_says_nothing_of_gains(tmp_path: Path):
    fake = FakeHome(tmp_path, study=STUDY.replace("start: cold_start\n", ""))
    built = build_report(fake.finish().plan(), fake.home)
    assert len(built.page.section("Is it only sharpening?").tables) == 1  # the decodings, and no verdicts
    assert built.page.tables[0].headings[-1] == "Holm p"
    # Without a start the untrained variant is one more that is compared.
    assert built.summary.row("cold_start").cells["coins_test/accuracy"].versus is not None


def test_a_task_that_differs_from_the_primary_one_is_read_from_its_own_samples(tmp_path: Path):
    study = STUDY.replace("tasks: [coins_test]", "tasks: [coins_test, coins_longer]").replace(
        "[coins_test/accuracy,", "[coins_test/accuracy, coins_longer/accuracy,"
    )
    fake = FakeHome(tmp_path, study=study).finish("grpo_rule", "majority")
    for trial in fake.plan().trials:
        folder = fake.home.trial(trial.id)
        if folder.done:
            final = read_json(folder.metrics)
            folder.samples("coins_longer").parent.mkdir()
            folder.samples("coins_longer").write_bytes(folder.samples("coins_test").read_bytes())
            final["metrics"]["coins_longer/accuracy"] = final["metrics"]["coins_test/accuracy"]
            write_json(folder.metrics, final)
    built = build_report(fake.plan(), fake.home)
    row = built.summary.row("majority")
    assert row.cells["coins_longer/accuracy"] == row.cells["coins_test/accuracy"]
    assert "coins_longer/steps" not in row.cells  # beside the primary metric's task only
