"""The report's section on critics, on trials whose critics miss a fifth of the wrong steps and accuse a tenth."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from fakehome import FakeHome

from capo_bench.analysis import critics as section
from capo_bench.analysis.collect import collect
from capo_bench.analysis.critics import measure_critics
from capo_bench.pages.critic_tables import build_critic_tables, list_critic_notes
from capo_bench.pages.page import render_html, render_markdown
from capo_bench.pages.report import Report, build_report
from trainers.rollouts import read_rollouts, write_step


@pytest.fixture(scope="module")
def tables(report: Report):
    return {table.title.partition(",")[0]: table for table in report.page.section("Critics").tables}


def lines(table):
    return {(row[0], row[1]): dict(zip(table.headings, row, strict=True)) for row in table.rows}


def test_quality_by_rule_and_k_comes_with_interval_and_n(tables):
    found = lines(tables["Votes of the critics against the exact checker"])
    # Any one critique flags 4 of 5 wrong steps and 1 of 10 right ones.
    alone = found["exact: any rule", "1"]
    assert alone["recall"].startswith("8")
    assert "[" in alone["precision"]
    assert alone["labelled × problems"].endswith(" × 6")  # two groups of each of three seeds
    assert ("exact: majority = union", "2") in found
    recalls = [
        float(found[f"exact: {rule}", "4"]["recall"].split()[0]) for rule in ("intersection", "majority", "union")
    ]
    assert recalls == sorted(recalls)


def test_what_a_critic_did(tables):
    (row,) = lines(tables["What the critics did"]).values()
    assert (row["critic"], row["trials"], row["critiques (reused)"]) == ("exact", "6", "153,600 (1,536)")
    assert row["abstained"].startswith("0.1 %: truncated ")
    alpha, low, high = (float(part.strip("[,]")) for part in row["agreement α"].split())
    assert 0.3 < low < alpha < high < 0.7


def test_cost_of_a_critic(tables):
    (row,) = lines(tables["What the critics cost"]).values()
    assert row == {
        "critic": "exact",
        "trials": "6",
        "tokens read (cached) + written": "4,320,000 (2,160,000) + 1,080,000",
        "tokens per policy token": "3.21",
        "seconds (waited)": "120.0 (30.0)",
    }


def test_money_has_a_column_where_there_is_a_price(fake: FakeHome):
    results = collect(fake.plan(), fake.finish().home)
    runs = {
        variant: {seed: replace(run, cost={**run.cost, "critic_money": 0.25}) for seed, run in seeds.items()}
        for variant, seeds in results.runs.items()
    }
    table = build_critic_tables(measure_critics(replace(results, runs=runs)))[-1]
    assert table.headings[-1] == "money"
    assert table.rows[0][-1] == "1.5"


def test_text_and_page_show_the_section(report: Report):
    page = report.page
    assert "## Critics" in render_markdown(page)
    assert ">Critics</h2>" in render_html(page)
    assert "Krippendorff" in render_html(page)


def test_without_critics_there_is_no_section(fake: FakeHome):
    built = build_report(fake.plan(), fake.finish("grpo_rule", "cold_start").home)
    assert (built.critics.votes, built.critics.totals, built.critics.read) == ([], [], 0)
    assert "## Critics" not in render_markdown(built.page)


def test_trials_that_stored_nothing_are_named_and_their_cost_stands(fake: FakeHome):
    fake.finish()
    for trial in fake.plan().trials:
        for path in fake.home.trial(trial.id).rollouts.glob("*"):
            path.unlink()
    built = build_report(fake.plan(), fake.home)
    assert [table.title for table in built.page.section("Critics").tables] == [
        "What the critics did, all trials together (α with 95 % interval)",
        "What the critics cost, all trials together",
    ]
    assert sum("holds no rollouts" in line for line in list_critic_notes(built.critics)) == 6


def test_a_torn_file_is_named(fake: FakeHome):
    fake.finish("majority", seeds=(0,))
    trial = next(t for t in fake.plan().trials if (t.variant, t.seed) == ("majority", 0))
    next(fake.home.trial(trial.id).rollouts.glob("00001*")).write_bytes(b"torn")
    notes = list_critic_notes(build_report(fake.plan(), fake.home).critics)
    assert "from 32 rollouts" in notes[0]
    assert "00001.0.jsonl.gz: cannot be read" in notes[1]


def test_only_some_steps_of_a_long_trial_are_read(fake: FakeHome, monkeypatch: pytest.MonkeyPatch):
    fake.finish("majority", seeds=(0,))
    trial = next(t for t in fake.plan().trials if (t.variant, t.seed) == ("majority", 0))
    folder = fake.home.trial(trial.id).rollouts
    (first, *_) = read_rollouts(folder)
    for step in range(3, 9):
        write_step(folder, step, 0, first.rollouts)
    monkeypatch.setattr(section, "MOST_ROLLOUTS", 512)
    # 128 rollouts a step by the settings: of eight steps every second.
    assert "from 128 rollouts" in list_critic_notes(build_report(fake.plan(), fake.home).critics)[0]


def test_a_critic_of_answers_is_measured_against_the_verifier(fake: FakeHome):
    fake.finish("majority", seeds=(0,))
    trial = next(t for t in fake.plan().trials if (t.variant, t.seed) == ("majority", 0))
    folder, rng = fake.home.trial(trial.id).rollouts, random.Random(0)
    for step in list(read_rollouts(folder)):
        judged = [replace(one, aim="answer", outcome=float(rng.random() < 0.5), critiques=()) for one in step.rollouts]
        said = step.rollouts[0].critiques
        heard = [
            replace(one, critiques=tuple(replace(c, wrong=frozenset({0}), abstained=None) for c in said))
            for one in judged
        ]
        write_step(folder, step.step, 0, heard)
    (row,) = [r for r in build_report(fake.plan(), fake.home).page.section("Critics").tables[0].rows if r[1] == "4"]
    # It calls every answer wrong: nothing is missed, and it is right as often as answers are wrong.
    assert row[0] == "exact, on answers: any rule"
    assert row[2].startswith("64 ×")
    assert row[5] == "100.0 [100.0, 100.0]"


def test_of_many_trials_as_many_are_read_as_it_takes(fake: FakeHome, monkeypatch: pytest.MonkeyPatch):
    results = collect(fake.plan(), fake.finish().home)
    monkeypatch.setattr(section, "MOST_OF_STUDY", 256)
    found = measure_critics(results)
    # 128 rollouts a step by the settings: of six trials two are enough, and each has stored 32 rollouts a step.
    assert found.read == 64
    assert found.totals[0]["trials"] == 6  # costs are those of all
