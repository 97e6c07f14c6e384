"""Evaluations side by side: pairs by hand and by law, what is refused, what is allowed and told."""

import math
import shutil

import pytest
from click.testing import CliRunner
from evaluating import ANSWERS, folder_of, right, run, run_endpoint
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.analysis.compare import pair_results
from capo_bench.cli import main
from capo_bench.store.home import Home, write_json
from evals.checksums import seal

SCORES = st.dictionaries(st.integers(0, 30).map(str), st.floats(0, 1), min_size=1)


def compare(*words, home):
    return CliRunner().invoke(main, ["compare", *map(str, words), "--home", str(home)], env={"COLUMNS": "200"})


def test_pairs_by_hand():
    # Differences 1, 0, 0.5, 0.5: mean 0.5, variance 1/6, SE √(1/24) = 0.2041, t(3) = 3.1824.
    found = pair_results({"a": 0, "b": 1, "c": 0.5, "d": 0, "e": 1}, {"a": 1, "b": 1, "c": 1, "d": 0.5, "f": 0})
    assert (found.value, found.n) == (0.5, 4)
    assert found.stderr == pytest.approx(0.204124)
    assert (found.low, found.high) == pytest.approx((0.5 - 3.18245 * 0.204124, 1), abs=1e-4)


def test_no_difference_on_few_problems_is_no_certainty():
    few, many = (
        pair_results(dict.fromkeys(map(str, range(n)), 1.0), dict.fromkeys(map(str, range(n)), 1.0)) for n in (5, 500)
    )
    assert (few.value, few.stderr) == (0, 0)
    assert few.high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert many.high < 0.01


def test_one_problem_has_no_interval_and_none_no_difference():
    assert pair_results({"a": 0.0}, {"a": 1.0}).low is None
    assert pair_results({"a": 0.0}, {"b": 1.0}) is None


@given(SCORES, SCORES)
def test_laws_of_pairs(left, right):
    found, back = pair_results(left, right), pair_results(right, left)
    if found is None:
        assert not set(left) & set(right)
        return
    assert found.value == pytest.approx(-back.value)
    if found.n > 1:
        assert -1 <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= 1
        assert math.isclose(found.low, -back.high, abs_tol=1e-9)


@pytest.fixture
def two(answering, tmp_path):
    """An evaluation in which all is right, and one of another seed in which about half is."""
    args = ("--task", "coins_test", "--limit", 20)
    half = answering(lambda problem, seed: f"\\boxed{{{ANSWERS[problem] if sum(problem.encode()) % 2 else 99}}}")
    return (
        folder_of(run_endpoint(answering(right), *args, home=tmp_path)),
        folder_of(run_endpoint(half, *args, "--seed", 7, home=tmp_path)),
    )


def id_of(folder):
    """The beginning of an evaluation's id, which ends its folder's name."""
    return folder.name.rpartition("-")[2][:6]


def test_an_evaluation_is_named_by_model_and_tasks_and_known_by_that_name(two, tmp_path):
    assert [folder.name.rpartition("-")[0] for folder in two] == ["critic-1-coins_test"] * 2
    done = compare(two[0].name[:-4], two[1].name, home=tmp_path)
    assert done.exit_code == 0, done.output
    several = compare("critic-1", two[1], home=tmp_path)
    assert (several.exit_code, "2 evaluations of" in several.stderr) == (2, True)


def test_the_same_problems_are_paired(two, tmp_path):
    done = compare(id_of(two[0]), two[1], home=tmp_path)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.strip().startswith("coins_test")]
    assert [row[3] for row in rows] == ["accuracy", "avg@8"] * 2
    assert all(row[4:7] == ["100.0", "[83,", "100]"] for row in rows[:2])
    assert all(row[7].startswith("−") for row in rows[2:])
    assert [row[-5:-1] for row in rows[2:]] == [["20", "20", "×", "1"], ["20", "20", "×", "8"]]


def test_what_differs_is_refused_value_by_value(two, answering, tmp_path):
    server = answering(right)
    other = folder_of(
        run_endpoint(
            server, "--task", "coins_test", "--limit", 20, "--temperature", 0.5, "--template", "bare", home=tmp_path
        )
    )
    done = compare(two[0], two[1], other, home=tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    name, here = f"critic-1 ({id_of(two[0])})", f"critic-1 ({id_of(other)})"
    assert f"sampling.temperature: 1.0 in {name}, 0.5 in {here} (coins_test)" in done.stderr
    assert f"model.template: 'chat' in {name}, 'bare' in {here} (coins_test)" in done.stderr
    assert "name what may differ, as in --allow-different" in done.stderr.splitlines()[-1]
    one = compare(two[0], other, "--allow-different", "temperature", home=tmp_path)
    assert one.exit_code == 2
    assert "temperature" not in one.stderr
    allowed = ("--allow-different", "sampling", "--allow-different", "template", "--allow-different", "template_hash")
    both = compare(two[0], other, *allowed, home=tmp_path)
    assert both.exit_code == 0, both.output
    assert "differs: sampling.temperature: 1.0 in" in both.stdout


def rewrite(path, old, new):
    """Change a result as its writer would have written it: its checksum too."""
    path.write_text(path.read_text().replace(old, new))
    seal(path.parent, [path.name])


def test_backends_never_meet_unasked(policy, two, tmp_path):
    local = folder_of(run(policy, "--task", "coins_test", "--limit", 20, "--max-tokens", 8, home=tmp_path))
    done = compare(two[0], local, home=tmp_path)
    assert done.exit_code == 2
    assert "model.backend: 'openai' in" in done.stderr
    assert "model.dtype: nothing in" in done.stderr


def test_a_verifier_of_another_version_is_refused(two, tmp_path):
    path = two[1] / "tasks" / "coins_test" / "result.json"
    rewrite(path, '"verifier": "', '"verifier": "0-')
    done = compare(*two, home=tmp_path)
    assert done.exit_code == 2
    assert "verifier: " in done.stderr


def test_what_is_not_there_is_told_at_once(two, tmp_path):
    done = compare(two[0], "beef", tmp_path / "nowhere", home=tmp_path)
    assert done.exit_code == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["beef", str(tmp_path / "nowhere")]
    assert compare(two[0], home=tmp_path).exit_code == 2


def test_a_trial_is_compared_by_its_own_evaluation(two, tmp_path):
    home = Home(tmp_path)
    trial = home.trial("ffff00000000")
    write_json(trial.config, {"id": "ffff00000000"})
    shutil.copytree(two[1] / "tasks" / "coins_test", trial.evaluation / "coins_test")
    done = compare(two[0], "ffff", home=tmp_path)
    assert done.exit_code == 0, done.output
    assert "ffff00000000" in done.output


def test_no_task_in_common(two, answering, tmp_path):
    other = folder_of(run_endpoint(answering(right), "--task", "coins_longer", "--limit", 4, home=tmp_path))
    done = compare(two[0], other, home=tmp_path)
    assert done.exit_code == 2
    assert "no task in common" in done.stderr


def test_what_only_the_others_have_is_held_to_the_same_rules(two, answering, tmp_path):
    server, args = answering(right), ("--task", "coins_test", "--task", "coins_longer", "--limit", 20)
    second = folder_of(run_endpoint(server, *args, home=tmp_path))
    longer = second / "tasks" / "coins_longer"
    copied = shutil.copytree(longer, tmp_path / "other" / "coins_longer")
    path = copied / "result.json"
    rewrite(path, '"temperature": 0.0', '"temperature": 0.5')
    done = compare(two[0], second, tmp_path / "other", home=tmp_path)
    assert done.exit_code == 2
    name = f"critic-1 ({id_of(second)})"
    assert f"sampling.temperature: 0.0 in {name}, 0.5 in other (coins_longer)" in done.stderr


def test_a_folder_of_several_evaluations_is_no_result(two, tmp_path):
    done = compare(two[0], two[0].parent, home=tmp_path)
    assert done.exit_code == 2
    assert f"{two[0].parent} holds coins_test twice; name the folder of one evaluation" in done.stderr


def test_tasks_of_several_models_are_no_result(two, tmp_path):
    both = tmp_path / "both"
    for number, folder in enumerate(two):
        shutil.copytree(folder / "tasks" / "coins_test", both / str(number))
    path = both / "1" / "result.json"
    rewrite(path, '"task": "coins_test"', '"task": "x"')
    rewrite(path, "critic-1", "another")
    done = compare(two[0], both, home=tmp_path)
    assert (done.exit_code, f"{both} holds results of several models" in done.stderr) == (2, True)


def test_a_result_without_its_samples_is_refused(two, tmp_path):
    samples = two[1] / "tasks" / "coins_test" / "samples.jsonl"
    samples.write_text("{torn\n")
    assert f"{samples} holds a line that is no sample" in compare(*two, home=tmp_path).stderr
    samples.unlink()
    done = compare(*two, home=tmp_path)
    assert done.exit_code == 2
    assert f"{samples.parent} holds a result and no samples.jsonl; score it again" in done.stderr


def test_differences_that_are_equal_but_for_rounding_are_no_certainty():
    left = {str(n): n / 10 for n in range(5)}
    found = pair_results(left, {name: value + 0.3 for name, value in left.items()})
    assert 0 < found.stderr < 1e-9
    assert found.high - found.value == pytest.approx(1 - 0.025 ** (1 / 5))
