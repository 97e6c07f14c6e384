"""What a measurement is: its id, and what it refuses before anybody is asked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from controlcritics import control, measured, oracle, quiet

from capo_bench.critic.ask import CritiqueTerms
from capo_bench.critic.measure import MeasurementRequest, NoChecker, fingerprint_solutions, hash_measurement, measure
from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home
from evals.benchmarks import Problem
from evals.critics.coins import COINS
from evals.critics.data import STEP_DATA, Selection
from evals.tasks.rows import DataErrors
from trainers.credit.segment import blank_lines, list_step_texts
from trainers.critics import CRITICS
from trainers.critics.exact import ExactParams
from trainers.critics.noisy import NoisyParams

REQUEST = MeasurementRequest(NoisyParams(), "coins", Selection(limit=30), CritiqueTerms(2))
SOLUTIONS = COINS.load(REQUEST.selection).solutions


def asked(request, home):
    return measure(request, Home(home), quiet, print)


def test_the_id_is_of_all_that_decides_the_result():
    others = [
        (replace(REQUEST, critic=NoisyParams(miss=0.1)), SOLUTIONS),
        (replace(REQUEST, selection=Selection(limit=30, seed=1)), SOLUTIONS),
        (replace(REQUEST, terms=CritiqueTerms(4)), SOLUTIONS),
        (replace(REQUEST, terms=CritiqueTerms(2, greedy=False)), SOLUTIONS),
        (REQUEST, SOLUTIONS[1:]),
        (REQUEST, [*SOLUTIONS[:-1], replace(SOLUTIONS[-1], steps=("x",) * len(SOLUTIONS[-1].steps))]),
    ]
    ids = {hash_measurement(request, solutions) for request, solutions in [(REQUEST, SOLUTIONS), *others]}
    assert len(ids) == 1 + len(others)


def test_the_id_is_not_of_where_the_data_was_or_how_many_may_abstain(tmp_path):
    elsewhere = replace(
        REQUEST, selection=replace(REQUEST.selection, source=tmp_path), terms=CritiqueTerms(2, True, 0.9)
    )
    assert hash_measurement(elsewhere, SOLUTIONS) == hash_measurement(REQUEST, SOLUTIONS)


def test_a_label_is_part_of_the_data():
    labels = replace(SOLUTIONS[0].labels, labelled=frozenset(), wrong=frozenset())
    assert fingerprint_solutions([replace(SOLUTIONS[0], labels=labels)]) != fingerprint_solutions(SOLUTIONS[:1])


def test_a_local_model_is_known_by_its_weights(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1")
    params = CRITICS.get("transformers").model_validate({"name": "transformers", "model": str(tmp_path)})
    before = hash_measurement(replace(REQUEST, critic=params), SOLUTIONS)
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert hash_measurement(replace(REQUEST, critic=params), SOLUTIONS) != before


def test_the_same_measurement_says_the_same(tmp_path):
    first, second = asked(REQUEST, tmp_path), asked(REQUEST, tmp_path)
    assert first.id == second.id
    assert first.asked.sampled == second.asked.sampled


@pytest.mark.parametrize("params", [ExactParams(), NoisyParams()])
@pytest.mark.parametrize("data", ["processbench", "prm800k", "prmbench"])
def test_critics_that_ask_a_checker_are_refused_where_there_is_none(params, data, tmp_path):
    with pytest.raises(
        RefusedError, match=f"critic '{params.name}' asks .* {data} has none; measure it on --data coin"
    ):
        asked(MeasurementRequest(params, data, Selection(source=tmp_path)), tmp_path)


def test_a_critic_of_another_package_abstains_there():
    with pytest.raises(RefusedError, match="no checker judges the steps of prmbench"):
        NoChecker("prmbench").check_steps(Problem("p", "?", ""), ["a"])


def test_a_reference_that_the_data_lacks_is_refused(tmp_path):
    row = {"id": "m", "problem": "?", "steps": ["a"], "label": 0}
    (tmp_path / "math.json").write_text(json.dumps([row]), encoding="utf-8")
    params = CRITICS.get("transformers").model_validate({"name": "transformers", "model": "m", "reference": True})
    with pytest.raises(RefusedError, match=r"1 of 1 solutions of processbench have none; use --set reference=false"):
        asked(MeasurementRequest(params, "processbench", Selection(("math",), tmp_path)), tmp_path)


def test_no_solution_is_told(tmp_path):
    (tmp_path / "test.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(RefusedError, match="--data prm800k: no labelled solution is left"):
        asked(MeasurementRequest(control(oracle, []), "prm800k", Selection(source=tmp_path)), tmp_path)


def test_wrong_data_is_told_before_anybody_is_asked(tmp_path):
    (tmp_path / "math.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(DataErrors):
        measured(oracle, "processbench", tmp_path, tmp_path, subsets=("math",))


def test_coins_are_cut_as_training_cuts_them():
    for solution in STEP_DATA.get("coins").load(Selection(limit=8)).solutions:
        text = "\n\n".join(solution.steps)
        assert [step.strip() for step in list_step_texts(text, blank_lines(text))] == list(solution.steps)
