"""What must not change a report, and how often it may be wrong."""

import random
from pathlib import Path

import numpy as np
import pytest
from fakehome import STUDY, FakeHome, read_lines, write_lines

from capo_bench.analysis.collect import collect
from capo_bench.analysis.looks import estimate_difference
from capo_bench.analysis.stats import NOISE, ScoreLayout, adjust_by_holm
from capo_bench.analysis.summary import Summary, summarise
from capo_bench.store.home import Home, read_json, write_json

METRICS = ("coins_test/accuracy", "coins_test/wrong_step_rate", "coins_test/steps")


def summed(fake: FakeHome) -> Summary:
    return summarise(collect(fake.plan(), fake.home))


def numbers(summary: Summary) -> dict[str, list[tuple[float, ...]]]:
    """Return what is shown of each variant, rounded far below what is printed."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for row in summary.rows:
        for metric in METRICS:
            for estimate in (row.cells[metric].value, row.cells[metric].versus, row.cells[metric].gain):
                if estimate is not None:
                    shown = (estimate.mean, estimate.low, estimate.high, estimate.seeds, estimate.problems)
                    found.setdefault(row.variant, []).append(tuple(round(x, 9) for x in shown))
    return found


@pytest.fixture
def finished(fake: FakeHome) -> FakeHome:
    return fake.finish()


def test_the_order_of_samples_in_their_file_does_not_matter(finished: FakeHome):
    before = numbers(summed(finished))
    for trial in finished.plan().trials:
        path = finished.home.trial(trial.id).samples("coins_test")
        records = read_lines(path)
        random.Random(trial.id).shuffle(records)
        write_lines(path, records)
    assert numbers(summed(finished)) == before


def test_the_order_of_variants_and_seeds_in_the_file_does_not_matter(finished: FakeHome):
    before = numbers(summed(finished))
    lines = STUDY.splitlines()
    first = next(i for i, line in enumerate(lines) if "name: cold_start" in line)
    lines[first : first + 4] = reversed(lines[first : first + 4])
    finished.study = "\n".join(lines).replace("[0, 1, 2]", "[2, 0, 1]")
    assert numbers(summed(finished)) == before


def test_trials_of_other_studies_in_the_same_home_do_not_matter(finished: FakeHome):
    before = numbers(summed(finished))
    other = FakeHome(finished.path, study=STUDY.replace("[0, 1, 2]", "[3, 4]"))
    for trial in other.plan().trials:
        other.write(trial)
    assert numbers(summed(finished)) == before


def test_a_home_reads_the_same_from_anywhere(finished: FakeHome, monkeypatch: pytest.MonkeyPatch):
    before = numbers(summed(finished))
    plan = finished.plan()
    monkeypatch.chdir(finished.path)
    assert numbers(summarise(collect(plan, Home(Path("results"))))) == before


def test_one_more_seed_changes_no_other_seeds_scores(fake: FakeHome):
    fake.finish(seeds=(0, 1))
    before = collect(fake.plan(), fake.home).scores("majority", "coins_test/accuracy")
    fake.finish(seeds=(2,))
    after = collect(fake.plan(), fake.home).scores("majority", "coins_test/accuracy")
    assert {seed: after[seed] for seed in before} == before
    assert sorted(after) == [0, 1, 2]


def test_costs_do_not_touch_results(finished: FakeHome):
    before = numbers(summed(finished))
    for trial in finished.plan().trials:
        path = finished.home.trial(trial.id).metrics
        final = read_json(path)
        write_json(path, {**final, "cost": {}})
    found = summed(finished)
    assert numbers(found) == before
    assert all(row.cost["wall_seconds"] == 0 and row.relative == {} for row in found.rows)


def laid(values: np.ndarray) -> ScoreLayout:
    return ScoreLayout(tuple(range(len(values))), tuple(map(str, range(values.shape[1]))), values)


def beaten(rng: np.random.Generator, gains: tuple[float, ...], seeds: int = 4, problems: int = 40) -> list[bool]:
    """Say which variants a study with these true gains tells from the baseline: answers are right or wrong."""
    hard = rng.normal(0, 0.8, (1, problems))

    def train(gain: float) -> ScoreLayout:
        luck = rng.normal(0, 0.3, (seeds, 1))
        return laid((rng.random((seeds, problems)) < 1 / (1 + np.exp(-(gain + hard + luck)))).astype(float))

    base = train(0.0)
    return [p < NOISE for p in adjust_by_holm([estimate_difference(train(gain), base).p for gain in gains])]


def test_a_study_of_equals_finds_a_difference_in_at_most_one_of_twenty():
    """Four variants no different from the baseline, 200 studies: any finding is a false one."""
    rng = np.random.default_rng(0)
    false = sum(any(beaten(rng, (0.0, 0.0, 0.0, 0.0))) for _ in range(200))
    assert false / 200 <= 0.08  # 0.05, and three standard errors of 200 draws would be 0.096


def test_a_large_gain_is_found_nearly_always_and_only_that_one():
    rng = np.random.default_rng(1)
    found = np.array([beaten(rng, (2.5, 0.0)) for _ in range(100)])
    assert found[:, 0].mean() >= 0.9
    assert found[:, 1].mean() <= 0.1
