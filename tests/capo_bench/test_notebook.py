"""The frames of a study, against the files that they are of; and the notebook that shows them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakehome import FakeHome, Truth, read_lines

import capo_bench as cb
from capo_bench.analysis.summary import summarise
from capo_bench.store.home import Home, read_json
from capo_bench.store.ledger import Ledger
from capo_bench.study.last_plan import RunRequest, keep_plan
from capo_bench.study.load import load_plan, read_study_text
from trainers.rollouts import read_rollouts

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
KEYS = ["trial", "variant", "seed"]


@pytest.fixture(scope="module")
def study(full: FakeHome):
    full.plan()
    return cb.load(full.path / "study.yaml", home=full.home.path)


def of(full: FakeHome, variant: str, seed: int = 0):
    trial = next(trial for trial in full.plan().trials if (trial.variant, trial.seed) == (variant, seed))
    return trial, full.home.trial(trial.id)


def test_nothing_is_read_before_it_is_asked_for(full: FakeHome, tmp_path: Path):
    full.plan()
    study = cb.load(full.path / "study.yaml", home=tmp_path / "not-there")
    assert repr(study) == "<study fake, profile quick: 0 of 12 trials done>"
    assert study.metrics.empty
    assert list(study.rollouts.columns[:5]) == [*KEYS, "step", "place"]


def test_the_profile_is_by_default_that_of_the_last_run(tmp_path: Path):
    home = Home(tmp_path)
    plan = load_plan("voting", "full")
    keep_plan(plan, home, RunRequest(read_study_text("voting")))
    Ledger(home.study("voting").ledger).append("study_started", profile="full", plan=[each.id for each in plan.trials])
    assert repr(cb.load("voting", home=tmp_path)).startswith("<study voting, profile full: 0 of")
    assert repr(cb.load("voting", "quick", home=tmp_path)).startswith("<study voting, profile quick: 0 of")


def test_trials_tell_what_their_variant_sets(study, full: FakeHome):
    assert list(study.trials.columns[:5]) == [*KEYS, "done", "method"]
    assert study.trials["done"].all()
    votes = dict(zip(study.trials["variant"], study.trials["credit.vote"], strict=True))
    assert (votes["majority"], study.trials.shape[0]) == ("majority", 12)


def test_metrics_and_costs_are_those_of_the_trial(study, full: FakeHome):
    trial, folder = of(full, "majority", 1)
    final = read_json(folder.metrics)
    own = study.metrics[study.metrics["trial"] == trial.id]
    assert dict(zip(own["metric"], own["value"], strict=True)) == final["metrics"]
    assert set(own["task"]) == {"coins_test"}
    (cost,) = study.costs[study.costs["trial"] == trial.id].to_dict("records")
    assert {name: cost[name] for name in final["cost"]} == final["cost"]


def test_the_mean_of_problems_scores_is_the_metric(study):
    scores = study.scores.groupby(["trial", "metric"])["score"].mean()
    metrics = study.metrics.set_index(["trial", "metric"])["value"]
    assert scores.to_numpy() == pytest.approx(metrics.loc[scores.index].to_numpy())


def test_curves_and_samples_are_the_files_lines(study, full: FakeHome):
    trial, folder = of(full, "grpo_rule")
    curve = study.curves[study.curves["trial"] == trial.id]
    assert curve["outcome"].tolist() == [record["outcome"] for record in read_lines(folder.steps)]
    samples = study.samples[study.samples["trial"] == trial.id]
    assert samples["completion"].tolist() == [line["completion"] for line in read_lines(folder.samples("coins_test"))]


def test_rollouts_steps_and_critiques_are_those_that_were_stored(study, full: FakeHome):
    trial, folder = of(full, "majority")
    stored = [rollout for step in read_rollouts(folder.rollouts) for rollout in step.rollouts]
    rollouts, steps, critiques = (
        frame[frame["trial"] == trial.id] for frame in (study.rollouts, study.steps, study.critiques)
    )
    assert rollouts["text"].tolist() == [rollout.text for rollout in stored]
    assert len(steps) == sum(len(rollout.steps) for rollout in stored)
    assert steps["wrong"].sum() == sum(len(rollout.truth) for rollout in stored)
    assert critiques["abstained"].notna().sum() == sum(c.wrong is None for row in stored for c in row.critiques)
    # Majority of 4: two flags of a step charge it.
    heard = steps[steps["voters"] == 4]
    assert (heard["charged"] == (heard["votes"] >= 2)).all()
    assert set(rollouts.loc[rollouts["outcome"] == 1, "answer"]) == {"7"}


def test_split_is_the_step_that_critiques_disagree_on_most(study):
    steps = study.steps[study.steps["voters"] == 4]
    most = (
        (2 * steps[["votes"]].assign(other=4 - steps["votes"]).min(axis=1) / 4)
        .groupby([steps["trial"], steps["step"], steps["place"]])
        .max()
    )
    rollouts = study.rollouts.set_index(["trial", "step", "place"]).loc[most.index]
    assert rollouts["split"].to_numpy() == pytest.approx(most.to_numpy())


def test_compare_gives_the_reports_differences(study):
    found = study.compare().set_index("variant")
    summary = summarise(study.results)
    assert sorted(found.index) == ["intersection", "majority"]
    for name, row in found.iterrows():
        cell = summary.row(name).cells["coins_test/accuracy"]
        assert (row["difference"], row["low"], row["high"]) == (cell.versus.mean, cell.versus.low, cell.versus.high)
        assert row["holm_p"] == cell.holm


def test_compare_with_another_baseline_and_metric(study):
    found = study.compare("majority", baseline="cold_start", metric="coins_test/wrong_step_rate")
    assert found[["variant", "baseline"]].to_numpy().tolist() == [["majority", "cold_start"]]
    assert found["p"].tolist() == found["holm_p"].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "grpo"}, "no variant 'grpo'.*known: cold_start, grpo_rule, intersection, majority"),
        ({"metric": "accuracy"}, "no metric 'accuracy'.*known: coins_test/accuracy"),
    ],
)
def test_compare_names_what_there_is(study, options, message):
    with pytest.raises(ValueError, match=message):
        study.compare(**options)


def test_an_unknown_figure_names_those_there_are(study):
    with pytest.raises(ValueError, match=r"no figure 'x'; figures of this study: .*differences"):
        study.figure("x")


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, capo_bench; print([m for m in ('pandas', 'numpy', 'torch', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("cold_start", "grpo_rule", "exact", "vote=intersection", "vote=majority", "vote=union")
    fake = FakeHome(tmp_path, study=read_study_text("voting"), truths=dict.fromkeys(names, Truth(0.5)), problems=8)
    fake.finish(seeds=(0, 1))
    monkeypatch.setenv("CAPO_BENCH_HOME", str(fake.home.path))
    defined: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), defined)
    assert defined["accuracy"].shape[0] == 12
    assert {"charged", "advantage"} <= set(defined["steps"].columns)
