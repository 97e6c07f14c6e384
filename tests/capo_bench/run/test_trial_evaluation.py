"""The evaluation stage of a trial: the tasks' own way unless the study says otherwise, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from capo_bench.run.evaluation import _apply_settings, _make_spec, generate, list_pending_tasks, score
from capo_bench.store.home import TrialFolder
from evals.checksums import ChangedFileError, unlist
from evals.config import EvaluationConfig
from evals.harness.folder import GENERATIONS, keep_latest, read_seconds, read_task, read_whole_batches
from evals.harness.results import read_result
from evals.harness.shares import join, split
from evals.harness.tasks import EvalTask
from evals.models.base import ModelError, Sampling
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer, save
from trainers.config import TrialConfig
from trainers.critics.serve import TAKEN

OWN = Sampling(temperature=0.6, top_p=0.95, max_tokens=4096)
COMPETITION = EvalTask("aime", "1", "generate", (), True, 32, OWN, None, "", "")
SMALL = {"tasks": ["coins_test", "coins_longer"], "problems": 4, "max_completion_tokens": 8, "batch_size": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(["Ann has 3 coins. Ann finds 4. How many?\n3 + 4 = 7\n\n\\boxed{7}"])
    save(build_model(BackboneConfig(source="embedded", width=16, layers=1), tokenizer, seed=0), tokenizer, folder)
    return str(folder)


def trial(**evaluation: Any) -> TrialConfig:
    return TrialConfig.model_validate({"evaluation": {**SMALL, **evaluation}})


def run(config: TrialConfig, model: str, out: Path, seed: int = 0, stop: Any = lambda: False) -> Any:
    """Generate and score; the metrics, None where it was stopped, and the stages that were told."""
    events: list[dict[str, Any]] = []
    folder = TrialFolder(out)
    # As a trial does: where every completion is there, nothing is loaded.
    pending = list_pending_tasks(config.evaluation, folder)
    done = not pending or generate(config, seed, model, out / "completions", events.append, stop, tasks=pending)
    done = done and score(config.evaluation, folder, events.append, stop)
    results = {task: read_result(folder.evaluation / task).metrics for task in config.evaluation.tasks} if done else {}
    metrics = {f"{task}/{name}": one.value for task, found in results.items() for name, one in found.items()}
    return metrics or None, [f"{event['stage']} {event['task']}" for event in events]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, OWN),
        ({"temperature": 0.5}, Sampling(0.5, 0.95, 4096)),
        ({"temperature": 0.5, "samples": 0}, Sampling(0.0, 1.0, 4096)),  # nothing is drawn, whatever it says
        ({"top_p": 0.5}, Sampling(0.6, 0.5, 4096)),
        ({"max_completion_tokens": 7}, Sampling(0.6, 0.95, 7)),
        ({"temperature": 1.0, "top_p": 1.0, "max_completion_tokens": 96}, Sampling(1.0, 1.0, 96)),
    ],
)
def test_a_task_is_sampled_in_its_own_way_but_for_what_the_study_sets(settings: Any, expected: Sampling) -> None:
    assert _apply_settings(COMPETITION, EvaluationConfig.model_validate(settings)).sampling == expected


@pytest.mark.parametrize(
    ("settings", "greedy", "samples"),
    [
        ({}, True, 32),
        ({"samples": 4}, True, 4),
        ({"samples": 0}, True, 0),
        ({"samples": 4, "greedy": False}, False, 4),
    ],
)
def test_each_problem_is_answered_greedily_and_by_samples(settings: Any, greedy: bool, samples: int) -> None:
    found = _apply_settings(COMPETITION, EvaluationConfig.model_validate(settings))
    assert (found.greedy, found.samples) == (greedy, samples)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"greedy": False}, "nothing is asked; set samples, as in samples: 8"),
        ({"greedy": False, "samples": 0}, "nothing is asked"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"samples": -1}, "greater than or equal to 0"),
    ],
)
def test_an_evaluation_that_asks_nothing_is_refused(settings: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        EvaluationConfig.model_validate(settings)


def test_a_prompt_that_is_too_long_is_found_before_any_task_is_asked(model: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="max_tokens"):
        run(trial(max_completion_tokens=100_000), model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_model_is_opened_where_nothing_is_owed(model: str, tmp_path: Path) -> None:
    first, _ = run(trial(), model, tmp_path)
    assert run(trial(), "no/such/model", tmp_path)[0] == first


def test_the_backbone_says_how_a_model_is_opened() -> None:
    spec = _make_spec(trial(), "folder/of/the/policy")
    assert (spec.backend, spec.template, spec.dtype, spec.batch) == ("hf", "bare", "float32", 2)
    assert spec.revision is None
    assert _make_spec(trial(backend="vllm"), "m").backend == "vllm"


def test_what_is_owed_is_what_lacks_completions(model: str, tmp_path: Path) -> None:
    settings = trial().evaluation
    assert list_pending_tasks(settings, TrialFolder(tmp_path)) == ["coins_test", "coins_longer"]
    run(trial(tasks=["coins_longer"]), model, tmp_path)
    assert list_pending_tasks(settings, TrialFolder(tmp_path)) == ["coins_test"]
    lines = tmp_path / "completions" / "coins_longer" / "generations.jsonl"
    lines.write_bytes(lines.read_bytes()[:-5])
    with pytest.raises(ChangedFileError, match=r"generations\.jsonl: its bytes differ from the checksum"):
        list_pending_tasks(settings, TrialFolder(tmp_path))
    unlist(lines.parent, [lines.name])  # as long as a task is asked, nothing is listed
    assert list_pending_tasks(settings, TrialFolder(tmp_path)) == ["coins_test", "coins_longer"]


def test_no_data_is_read_where_nothing_is_owed(model: str, tmp_path: Path) -> None:
    first, _ = run(trial(), model, tmp_path)
    assert run(trial(data_dir=str(tmp_path / "nowhere")), model, tmp_path)[0] == first


def test_only_what_has_no_result_is_scored(model: str, tmp_path: Path) -> None:
    first, _ = run(trial(), model, tmp_path)
    (tmp_path / "evaluation" / "coins_longer" / "result.json").unlink()
    second, stages = run(trial(), model, tmp_path)
    assert (second, stages) == (first, ["score coins_longer"])


def test_scoring_stops_between_tasks(model: str, tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    assert generate(trial(), 0, model, tmp_path / "completions", lambda _: None, lambda: False)
    settings, first = trial().evaluation, folder.evaluation / "coins_test" / "result.json"
    assert not score(settings, folder, lambda _: None, first.exists)
    assert not (folder.evaluation / "coins_longer" / "result.json").exists()
    written = first.stat().st_mtime_ns
    assert score(settings, folder, lambda _: None, lambda: False)
    assert first.stat().st_mtime_ns == written


def test_every_task_leaves_its_metrics_and_its_files(model: str, tmp_path: Path) -> None:
    metrics, stages = run(trial(samples=2), model, tmp_path)
    assert {name.partition("/")[0] for name in metrics} == {"coins_test", "coins_longer"}
    assert stages == ["generate coins_test", "generate coins_longer", "score coins_test", "score coins_longer"]
    for task in ("coins_test", "coins_longer"):
        result = read_result(tmp_path / "evaluation" / task)
        assert metrics[f"{task}/accuracy"] == result.metrics["accuracy"].value
        assert metrics[f"{task}/avg_at_2"] == result.metrics["avg_at_2"].value
        assert metrics[f"{task}/pass_at_2"] == result.metrics["pass_at_2"].value
        assert (result.identity["greedy"], result.identity["samples"]) == (True, 2)
        assert len((tmp_path / "evaluation" / task / "samples.jsonl").read_text().splitlines()) == 12


def test_all_trials_are_asked_the_same_and_draw_with_their_seed(model: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        run(trial(), model, tmp_path / str(seed), seed=seed)
    first, second = (read_task(tmp_path / str(seed) / "completions" / "coins_test") for seed in (0, 1))
    assert first.asked == second.asked
    assert (first.identity["seed"], second.identity["seed"]) == (0, 1)

    def said(seed: int) -> list[tuple[str, str]]:
        lines = (tmp_path / str(seed) / "completions" / "coins_test" / "generations.jsonl").read_text().splitlines()
        return [(line["decoding"], line["completion"]) for line in map(json.loads, lines)]

    assert said(0) != said(1)
    assert said(0)[:4] == said(1)[:4]  # the greedy answers draw nothing


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_stopped_after_any_batch_it_ends_with_the_same_bytes(model: str, tmp_path: Path, batches: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected, _ = run(trial(), model, whole)
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > batches

    stopped, stages = run(trial(), model, parts, stop=stop)
    assert stopped is None
    assert not any(stage.startswith("score") for stage in stages)
    found, _ = run(trial(), model, parts)
    assert found == expected
    for task in ("coins_test", "coins_longer"):
        for name in (f"completions/{task}/generations.jsonl", f"evaluation/{task}/samples.jsonl"):
            assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_what_is_finished_is_not_asked_for_again(model: str, tmp_path: Path) -> None:
    first, _ = run(trial(), model, tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.glob("completions/*/timing.jsonl")}
    assert len(written) == 2
    second, _ = run(trial(), model, tmp_path)
    assert second == first
    assert {path: path.read_bytes() for path in tmp_path.glob("completions/*/timing.jsonl")} == written


def test_shares_of_an_evaluation_become_what_one_process_writes(model: str, tmp_path: Path) -> None:
    config, whole, parts = trial(samples=3, problems=5), tmp_path / "whole", tmp_path / "completions"
    assert generate(config, 0, model, whole, lambda _: None, lambda: False)
    shares = split(3)
    for share in shares:
        assert generate(config, 0, model, parts, lambda _: None, lambda: False, share=share)
    join(parts, list(config.evaluation.tasks), shares)
    for task in config.evaluation.tasks:
        one, joined = (keep_latest(read_whole_batches(out / task / GENERATIONS)[0]) for out in (whole, parts))
        assert {key: line["completion"] for key, line in joined.items()} == {
            key: line["completion"] for key, line in one.items()
        }
        assert read_task(parts / task).asked == read_task(whole / task).asked
        assert read_seconds(parts / task)[1] > 0
    assert not list_pending_tasks(config.evaluation, TrialFolder(tmp_path))
    assert sorted(path.name for path in parts.iterdir()) == sorted(config.evaluation.tasks)


def test_a_share_without_problems_asks_nothing(model: str, tmp_path: Path) -> None:
    config, shares = trial(samples=0, problems=1, tasks=["coins_test"]), split(2)
    for share in shares:
        assert generate(config, 0, model, tmp_path, lambda _: None, lambda: False, share=share)
    join(tmp_path, ["coins_test"], shares)
    assert len(read_task(tmp_path / "coins_test").asked) == 1


@pytest.mark.parametrize(("taken", "left"), [("", 0.9), ("0.0", 0.9), ("0.3", 0.6), ("0.95", 0.1)])
def test_an_engine_that_measures_takes_what_the_critics_server_leaves(monkeypatch, taken, left):
    monkeypatch.setenv(TAKEN, taken)
    assert _make_spec(TrialConfig(), "folder").gpu_memory_utilization == pytest.approx(left)
