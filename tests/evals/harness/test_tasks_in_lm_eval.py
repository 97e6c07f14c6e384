"""The folder of tasks works with lm-eval's own command, unchanged, from any working directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tinymodel import save_model

from evals.tasks import FOLDER

ROOT = Path(__file__).parents[3]
ARC = {"id": "M_1", "question": "Why?", "choices": {"text": ["it is", "no"], "label": ["A", "B"]}, "answerKey": "B"}


def lm_eval(folder, *arguments):
    """Run ``lm_eval`` offline, in another working directory, where no checkout is."""
    command = [sys.executable, "-m", "lm_eval", *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (folder / "out").glob("**/results_*.json")
    return json.loads(results.read_text(encoding="utf-8")), done.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return lm-eval's results on coins, a maths benchmark and both forms of a choice, and the folder of its files."""
    folder = tmp_path_factory.mktemp("elsewhere")
    model = save_model(folder / "model")
    for name, rows in (
        ("arc_challenge", [{**ARC, "id": f"M_{number}"} for number in range(4)]),
        ("aime24", [{"id": 1, "problem": "1 + 1?", "answer": "2"}]),
    ):
        (folder / "data" / name).mkdir(parents=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / name / "test.jsonl").write_text(text, encoding="utf-8")
    names = ("coins_test", "aime24", "arc_challenge", "arc_challenge_ll")
    results, _ = lm_eval(
        folder,
        *("--model", "hf", "--model_args", f"pretrained={model},revision=main", "--device", "cpu"),
        *("--include_path", FOLDER, "--tasks", ",".join(f"capo_{name}" for name in names)),
        *("--metadata", json.dumps({"data_dir": str(folder / "data"), "problems": 6})),
        *("--gen_kwargs", "max_gen_toks=8", "--limit", 4, "--batch_size", 32),
        *("--output_path", folder / "out", "--log_samples"),
    )
    return results, folder


def test_every_task_has_its_metrics(ran):
    scores = ran[0]["results"]
    for name in ("coins_test", "aime24", "arc_challenge"):
        metrics = scores[f"capo_{name}"]
        assert 0 <= metrics["accuracy,all"] <= 1
        # Random weights box nothing, and write a number now and then.
        assert 0 < metrics["no_answer,all"] <= 1
        assert metrics["unscored,all"] == 0
    assert {"acc,none", "acc_norm,none"} <= set(scores["capo_arc_challenge_ll"])


def test_the_tasks_are_the_ones_of_the_harness(ran):
    results, _ = ran
    assert results["n-samples"]["capo_coins_test"] == {"original": 6, "effective": 4}
    assert set(results["versions"].values()) == {1}
    assert results["configs"]["capo_aime24"]["repeats"] == 32


def test_all_k_responses_are_scored(ran):
    (path,) = (ran[1] / "out").glob("**/samples_capo_aime24_*.jsonl")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    sample = json.loads(line)
    (responses,) = sample["filtered_resps"]
    assert len(responses) == 32
    assert len(set(responses)) > 1
    assert sample["target"] == "2"
