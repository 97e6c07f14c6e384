"""From files to results: what is read, what is missing, and how a damaged file is told."""

from pathlib import Path

import pytest
from fakehome import FakeHome, read_lines, write_lines

from capo_bench.analysis.collect import collect
from capo_bench.analysis.summary import summarise
from capo_bench.store.home import read_json, write_json
from capo_bench.store.records import DamagedFileError


def test_every_finished_trial_is_read(full: FakeHome):
    results = collect(full.plan(), full.home)
    assert {name: sorted(runs) for name, runs in results.runs.items()} == {name: [0, 1, 2] for name in full.truths}
    assert results.missing == ()
    run = results.runs["grpo_rule"][1]
    assert len(run.scores["coins_test/accuracy"]) == 64
    assert len(run.curve) == 50
    assert run.cost["policy_tokens"] == 280_000
    assert run.provenance["git"]["commit"] == "c56f98b"


def test_what_the_steps_of_the_curve_had_spent_counts_steps_without_an_outcome(fake: FakeHome):
    fake.finish("grpo_rule", seeds=(0,))
    folder = fake.home.trial(next(t.id for t in fake.plan().trials if (t.variant, t.seed) == ("grpo_rule", 0)))
    steps = [
        {"outcome": 0.25, "seconds": 2.0, "policy_tokens": 100.0, "total_tokens": 400.0},
        {"outcome": None, "seconds": 3.0, "policy_tokens": 50.0, "total_tokens": None},
        {"outcome": 0.5, "seconds": 1.5, "policy_tokens": 70.0, "total_tokens": 400.0},
    ]
    write_lines(folder.steps, steps)
    run = collect(fake.plan(), fake.home).runs["grpo_rule"][0]
    assert run.curve == (0.25, 0.5)
    assert run.spent == {"steps": [1.0, 3.0], "seconds": [2.0, 6.5], "policy_tokens": [100.0, 220.0]}


def test_spending_is_the_same_from_a_digest(full: FakeHome, tmp_path: Path):
    again = [collect(full.plan(), full.home, digests=tmp_path).runs["majority"][2].spent for _ in range(2)]
    assert again[0] == again[1] == collect(full.plan(), full.home).runs["majority"][2].spent
    assert again[0]["total_tokens"][-1] == 50 * (5600 + 900_000 / 50)


def test_what_stands_beside_the_studys_metrics_is_read_too(full: FakeHome):
    run = collect(full.plan(), full.home).runs["majority"][0]
    assert set(run.scores["coins_test/steps"].values()) == {4.0}
    assert "coins_test/tokens" in run.scores


def test_a_trial_that_is_not_done_is_missing(fake: FakeHome):
    fake.finish("grpo_rule", "majority", seeds=(0, 2))
    results = collect(fake.plan(), fake.home)
    assert sorted(results.runs["majority"]) == [0, 2]
    assert results.runs["intersection"] == {}
    assert len(results.missing) == 8
    assert ("majority", 1) in {(trial.variant, trial.seed) for trial in results.missing}


def test_a_metric_that_a_trial_does_not_define_is_left_out(fake: FakeHome):
    fake.finish("grpo_rule", seeds=(0,))
    folder = fake.home.trial(next(t.id for t in fake.plan().trials if (t.variant, t.seed) == ("grpo_rule", 0)))
    metrics = read_json(folder.metrics)
    del metrics["metrics"]["coins_test/wrong_step_rate"]
    write_json(folder.metrics, metrics)
    results = collect(fake.plan(), fake.home)
    assert results.scores("grpo_rule", "coins_test/wrong_step_rate") == {}
    assert list(results.scores("grpo_rule", "coins_test/accuracy")) == [0]


def test_a_metric_without_samples_counts_as_one_number_a_seed(fake: FakeHome):
    fake.finish("grpo_rule", seeds=(0,))
    trial = next(t for t in fake.plan().trials if (t.variant, t.seed) == ("grpo_rule", 0))
    folder = fake.home.trial(trial.id)
    folder.samples("coins_test").unlink()
    scores = collect(fake.plan(), fake.home).scores("grpo_rule", "coins_test/accuracy")
    assert scores == {0: {"": read_json(folder.metrics)["metrics"]["coins_test/accuracy"]}}


def damaged(fake: FakeHome, file: str) -> str:
    """Damage a file of one trial and return how reading the results fails."""
    fake.finish("grpo_rule", seeds=(0,))
    folder = fake.home.trial(next(t.id for t in fake.plan().trials if (t.variant, t.seed) == ("grpo_rule", 0)))
    path = {"metrics": folder.metrics, "steps": folder.steps, "samples": folder.samples("coins_test")}[file]
    if file == "metrics":
        path.write_text("{\n  torn", encoding="utf-8")
    elif file == "steps":
        with path.open("a", encoding="utf-8") as out:
            out.write('{"step": 51, "out')
    else:
        write_lines(path, [*read_lines(path)[:2], [1, 2]])  # type: ignore[list-item]
    with pytest.raises(DamagedFileError) as caught:
        summarise(collect(fake.plan(), fake.home))
    return str(caught.value).removeprefix(str(folder.path))


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("metrics", "/metrics.json:2: not JSON"),
        ("steps", "/training/steps.jsonl:51: not JSON"),
        ("samples", "/evaluation/coins_test/samples.jsonl:3: list where an object belongs"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(fake: FakeHome, file: str, told: str):
    assert damaged(fake, file).startswith(told)
