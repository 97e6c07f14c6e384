"""``capo-bench eval`` from its command line: results, files, what is kept, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from evaluating import folder_of, results_of, right, rows_of, run, run_endpoint

import capo_bench
import evals.models.open
from capo_bench.store.lock import hold_lock

ENV = {**os.environ, "PYTHONPATH": str(Path(capo_bench.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def command(*args, home):
    return [sys.executable, "-m", "capo_bench", "eval", *map(str, args), "--home", str(home), "--no-tracking"]


def content(folder):
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name in {"generations.jsonl", "samples.jsonl"}
    }


def test_a_folder_on_a_suite(policy, tmp_path):
    done = run(policy, "--suite", "coins", "--limit", 12, "-k", 2, "--max-tokens", 24, home=tmp_path)
    assert done.exit_code == 0, done.output
    first = rows_of(done, "coins_longer")[0]
    assert first[-3] == "12 × 2"
    results = results_of(done)
    assert int(first[-2]) == results["coins_longer"]["cost"]["policy_tokens"] <= 12 * 3 * 24
    assert list(results) == ["coins_distractors", "coins_longer", "coins_test", "coins_unseen"]
    assert results["coins_test"]["metrics"]["truncated"]["value"] > 0.5  # rubbish seldom ends
    assert results["coins_test"]["identity"]["model"]["template"] == "bare"
    folder = folder_of(done)
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json", "figures", "lock", "provenance.json", "report.html", "report.md", "results.json",
        "table.csv", "tables", "tasks",
    }  # fmt: skip
    assert json.loads((folder / "provenance.json").read_text())["packages"]["torch"]


def test_real_problems_and_ranked_options(policy, benchmark_data, tmp_path):
    done = run(
        policy, "--task", "math500", "--task", "arc_challenge_ll", "--limit", 6, "-k", 2, "--max-tokens", 16,
        "--data-dir", benchmark_data, home=tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    results = results_of(done)
    assert results["math500"]["cost"] | {"samples": 18, "problems": 6} == results["math500"]["cost"]
    assert {"accuracy", "accuracy_norm"} <= set(results["arc_challenge_ll"]["metrics"])
    assert rows_of(done, "arc_challenge_ll")[0][-3:-1] == ["6 × 1", "0"]


def test_what_is_finished_is_not_asked_for_again(policy, tmp_path, monkeypatch):
    args = (policy, "--task", "coins_test", "--limit", 8, "--max-tokens", 8)
    first = run(*args, home=tmp_path)
    before = content(folder_of(first) / "tasks" / "coins_test")
    monkeypatch.setattr(evals.models.open, "open_model", lambda spec: pytest.fail("the model was opened"))
    again = run(*args, home=tmp_path)
    assert (again.exit_code, folder_of(again)) == (0, folder_of(first))
    assert content(folder_of(first) / "tasks" / "coins_test") == before


@pytest.mark.parametrize(
    "more", [("--seed", 1), ("-k", 2), ("--temperature", 0.5), ("--limit", 7), ("--dtype", "float32")]
)
def test_what_decides_the_completions_names_the_folder(policy, more, tmp_path):
    args = (policy, "--task", "coins_test", "--limit", 6, "--max-tokens", 4)
    assert folder_of(run(*args, home=tmp_path)) != folder_of(run(*args, *more, home=tmp_path))


@pytest.mark.nightly
def test_a_killed_evaluation_goes_on_to_the_same_bytes(policy, tmp_path):
    args = (policy, "--task", "coins_test", "--limit", 40, "-k", 12, "--max-tokens", 90, "--batch-size", 8)
    whole = run(*args, home=tmp_path / "whole")
    began = subprocess.Popen(command(*args, home=tmp_path / "killed"), env=ENV, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed" / "evals" / folder_of(whole).name / "tasks" / "coins_test"
    written = folder / "generations.jsonl"
    deadline = time.monotonic() + 60
    while not (written.exists() and written.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    began.kill()
    began.wait()
    assert 0 < written.stat().st_size < (folder_of(whole) / "tasks/coins_test/generations.jsonl").stat().st_size
    assert not (folder / "samples.jsonl").exists()
    resumed = run(*args, home=tmp_path / "killed")
    assert resumed.exit_code == 0, resumed.output
    assert content(folder) == content(folder_of(whole) / "tasks" / "coins_test")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_that_the_same_command_goes_on(number, code, answering, tmp_path):
    server = answering(right)
    server.go.clear()  # answers wait
    args = ("critic-1", "--backend", "openai", "--base-url", server.url, "--task", "coins_test", "--limit", "4")
    asked = subprocess.Popen(command(*args, home=tmp_path), env=ENV, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.01)
    asked.send_signal(number)
    _, told = asked.communicate(timeout=30)
    server.go.set()
    assert asked.returncode == code
    assert told.endswith("interrupted; the same command resumes where it stopped\n")
    assert "Traceback" not in told


def test_scoring_again_needs_no_model_and_no_data(answering, tmp_path):
    server = answering(right)
    done = run_endpoint(server, "--task", "coins_test", "--limit", 6, home=tmp_path)
    folder, asked = folder_of(done), len(server.requests)
    (folder / "tasks" / "coins_test" / "samples.jsonl").unlink()
    again = run(folder.name[-12:-6], "--rescore", home=tmp_path)
    assert again.exit_code == 0, again.output
    assert len(server.requests) == asked
    assert rows_of(again, "coins_test")[0][1].startswith("100.0")
    assert folder_of(run_endpoint(server, "--task", "coins_test", "--limit", 6, "--rescore", home=tmp_path)) == folder
    assert run(folder, "--rescore", home=tmp_path / "another").exit_code == 0
    late = run(folder, "--rescore", "--task", "aime24", "-k", 2, home=tmp_path)
    assert late.exit_code == 2
    assert "leave out --task or --suite, -k, or evaluate a model again" in late.stderr
    unknown = run_endpoint(server, "--task", "coins_test", "--limit", 5, "--rescore", home=tmp_path)
    assert unknown.exit_code == 2
    assert "there is no such evaluation; leave out --rescore" in unknown.stderr


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    done = run(
        "no/such/model", "--suite", "mth", "--task", "math50", "--critic", "nosy", "--data-dir", "/nowhere",
        "--base-url", "http://u:secret@host", home=tmp_path,
    )  # fmt: skip
    assert (done.exit_code, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("MODEL no/such/model: no such folder; name a model's folder")
    assert "--suite mth: no suite 'mth' (did you mean 'math'?)" in lines[2]
    assert "--task math50: no task 'math50' (did you mean 'math500'?)" in lines[3]
    assert lines[4].startswith("--data-dir /nowhere: no such folder")
    assert "did you mean 'noisy'?" in lines[5]
    assert "secret" not in done.output
    assert not (tmp_path / "evals").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "nothing to evaluate on: name suites with --suite (paper, math, ood, smoke, coins) or tasks with --task"),
        (("--task", "coins_test", "--vote", "union"), "--vote without --critic: name the critic"),
        (("--task", "coins_test", "--critic", "exact", "--vote", "at_least"), "takes the number of critiques"),
        (("--task", "coins_test", "--temperature", 0.5, "-k", 0), "--temperature 0.5: no answers are sampled"),
        (("--task", "coins_longer", "--temperature", 0.5), "--temperature 0.5: no answers are sampled"),
        (("--task", "coins_longer", "--no-greedy"), "--no-greedy leaves no answers of coins_longer"),
        (("--task", "coins_test", "--template", "chat"), "the model's tokenizer has none; say 'plain'"),
        (("--task", "coins_test", "--revision", "main"), "revision 'main' is for a repository"),
        (("--task", "coins_test", "--max-tokens", 100000), "lower max_tokens"),
    ],
)
def test_bad_input_ends_with_exit_code_2(args, told, policy, tmp_path):
    done = run(policy, *args, home=tmp_path)
    assert done.exit_code == 2
    assert told in done.stderr


def test_a_folder_without_a_model_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run(tmp_path / "empty", "--task", "coins_test", home=tmp_path)
    assert (done.exit_code, "holds neither config.json" in done.stderr) == (2, True)


def test_one_process_at_a_time(answering, tmp_path):
    server = answering(right)
    args = ("--task", "coins_test", "--limit", 4)
    folder = folder_of(run_endpoint(server, *args, home=tmp_path))
    with hold_lock(folder / "lock"):
        done = run_endpoint(server, *args, home=tmp_path)
    assert done.exit_code == 2
    assert f"{folder}: this evaluation is being run by process {os.getpid()}" in done.stderr


def test_an_endpoint_that_is_not_there(tmp_path):
    args = ("m", "--backend", "openai", "--base-url", "http://127.0.0.1:9/v1", "--task", "coins_test")
    done = run(*args, home=tmp_path)
    assert done.exit_code == 2
    assert "127.0.0.1:9" in done.stderr


def test_too_many_failures_end_with_exit_code_1(answering, tmp_path):
    withheld = {"message": {"role": "assistant", "content": "hm"}, "finish_reason": "content_filter"}
    server = answering(lambda problem, seed: withheld)
    done = run_endpoint(server, "--task", "coins_test", "--limit", 4, "--max-failed", 0, home=tmp_path)
    assert done.exit_code == 1, done.output
    assert "4 failed" in done.stderr
    assert "failed ones are retried" in done.stderr


def test_no_key_in_any_file(answering, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-written")
    server = answering(lambda problem, seed: "my key is sk-other", key="sk-not-to-be-written")
    done = run_endpoint(server, "--task", "coins_test", "--limit", 4, "--export", tmp_path / "out", home=tmp_path)
    assert done.exit_code == 0, done.output
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if b"sk-not-to-be-written" in path.read_bytes()]


def test_the_export_is_what_lm_eval_reads(answering, tmp_path):
    from lm_eval.utils import make_table

    server = answering(right)
    done = run_endpoint(server, "--task", "coins_test", "--limit", 4, "--export", tmp_path / "out", home=tmp_path)
    (path,) = (tmp_path / "out").rglob("results_*.json")
    assert f"lm-eval's JSON: {path}" in done.stderr
    assert "coins_test" in make_table(json.loads(path.read_text()))


def test_help_shows_examples_and_exit_codes(tmp_path):
    text = run("--help", home=tmp_path).output
    assert "Exit codes:" in text
    assert "capo-bench eval outputs/my-lora" in text


def test_a_folder_of_the_name_that_an_endpoint_gives_its_model_is_not_looked_at(answering, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "critic-1").mkdir()
    done = run_endpoint(answering(right), "--task", "coins_test", "--limit", 2, home=tmp_path / "home")
    assert done.exit_code == 0, done.output


def test_prompts_of_all_tasks_are_measured_before_the_first_is_asked(policy, tmp_path):
    lengths = ("--max-length", 76, "--max-tokens", 30)
    done = run(policy, "--task", "coins_test", "--task", "coins_longer", *lengths, home=tmp_path)
    assert done.exit_code == 2
    assert "a prompt of 51 tokens and a completion of 30" in done.stderr
    assert "lower max_tokens to 25, or" in done.stderr
    assert not list(tmp_path.rglob("generations.jsonl"))


def test_provenance_is_that_of_the_run_that_asked(answering, tmp_path):
    server, args = answering(right), ("--task", "coins_test", "--limit", 2)
    provenance = folder_of(run_endpoint(server, *args, home=tmp_path)) / "provenance.json"
    provenance.write_text('{"git": {"commit": "of the first run"}}')
    run_endpoint(server, *args, home=tmp_path)
    assert "of the first run" in provenance.read_text()
    provenance.unlink()
    assert run_endpoint(server, *args, "--rescore", home=tmp_path).exit_code == 0
    assert json.loads(provenance.read_text())["git"]["commit"] is None


@pytest.mark.parametrize("word", ["3f9c2a", "deadbeef0123", "aa1b2c3d4e5x"])
def test_a_mistyped_trial_fails_at_once_and_never_reaches_the_hub(word, tmp_path, monkeypatch):
    config = tmp_path / "trials" / "aa1b2c3d4e5f" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text("{}")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: pytest.fail("the network was asked"))
    done = run(word, "--task", "coins_test", home=tmp_path)
    assert done.exit_code == 2
    assert f"MODEL {word}: no folder, and no trial of {tmp_path} begins so" in done.output
    assert ("did you mean aa1b2c3d4e5f?" in done.output) == word.startswith("aa1b")
