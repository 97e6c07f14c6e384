"""Steps judged by a critic: the votes and the cache of training, and what has no verdict."""

import json

import pytest
from chat_server import MODEL, ChatServer, serving
from evaluating import folder_of, results_of, right, rows_of, run, run_endpoint

COINS = ("--task", "coins_test", "--limit", 12)


def samples_of(done, task="coins_test"):
    path = folder_of(done) / "tasks" / task / "samples.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def critics(server, *more):
    return ("--critic", "openai", "--set", f"model={MODEL}", "--set", f"base_url={server.url}", *more)


def test_the_exact_critic_says_what_the_exact_checker_says(answering, tmp_path):
    server = answering(right)
    checked = samples_of(run_endpoint(server, *COINS, home=tmp_path))
    done = run_endpoint(server, *COINS, "--critic", "exact", home=tmp_path)
    assert [sample["wrong_steps"] for sample in samples_of(done)] == [sample["wrong_steps"] for sample in checked]
    assert results_of(done)["coins_test"]["metrics"]["flawed_right"]["value"] == 1
    assert results_of(done)["coins_test"]["cost"]["critiques"] == 4 * 12 * 9  # a greedy answer and eight samples
    assert results_of(done)["coins_test"]["identity"]["critic"] == {"name": "exact", "vote": "majority", "critiques": 4}
    assert "judged by exact, majority of 4" in done.stdout
    assert len(server.requests) == 12 * 2  # eight samples are one request; the completions were kept


def test_without_the_critic_the_checker_has_its_say_again(answering, tmp_path):
    server = answering(right)
    run_endpoint(server, *COINS, "--critic", "noisy", "--set", "miss=1", "--vote", "greedy", home=tmp_path)
    done = run_endpoint(server, *COINS, home=tmp_path)
    assert "critic" not in results_of(done)["coins_test"]["identity"]
    assert "judged by the exact checker" in done.stdout


@pytest.mark.parametrize(
    ("vote", "wrong"), [("union", [0, 1]), ("intersection", []), ("greedy", [1]), ("average", [0, 1])]
)
def test_votes_are_those_of_training(answering, vote, wrong, tmp_path):
    server = answering(right)
    # Two critiques: one calls step 1 wrong, the other step 2; the greedy one, which has no seed, step 2.
    judge = ChatServer(say=lambda prompt, seed: f"Wrong steps: [{1 if seed is not None and seed % 2 else 2}]")
    with serving(judge):
        args = critics(judge, "--vote", vote, *(("--critiques", 2) if vote != "greedy" else ()))
        done = run_endpoint(server, "--task", "coins_test", "--limit", 6, *args, home=tmp_path)
    assert done.exit_code == 0, done.output
    found = {tuple(sample["wrong_steps"]) for sample in samples_of(done)}
    assert tuple(wrong) in found


def test_a_language_model_judges_where_no_checker_does(answering, benchmark_data, tmp_path):
    server = answering(lambda problem, seed: "Let x = 1.\n\nSo \\boxed{0}")
    judge = ChatServer(say=lambda prompt, seed: "Wrong steps: [1]")
    task = ("--task", "math500", "-k", 2, "--limit", 5, "--data-dir", benchmark_data)
    with serving(judge):
        done = run_endpoint(server, *task, *critics(judge, "--critiques", 3), home=tmp_path)
        assert done.exit_code == 0, done.output
        assert {tuple(sample["wrong_steps"]) for sample in samples_of(done, "math500")} == {(0,)}
        assert results_of(done)["math500"]["metrics"]["wrong_step_rate"]["value"] == 0.5
        assert results_of(done)["math500"]["cost"]["critic_tokens"] > 0
        asked = len(judge.requests)
        again = run(folder_of(done), "--rescore", *critics(judge, "--critiques", 3), home=tmp_path)
    assert len(judge.requests) == asked  # critiques are kept as in training
    assert rows_of(again, "math500")[2] == rows_of(done, "math500")[2]
    lines = (folder_of(done) / "tasks" / "math500" / "critiques.jsonl").read_text().splitlines()
    assert len(lines) == 15  # of each of 5 problems a greedy answer and 2 sampled ones
    critique = json.loads(lines[0])["critiques"][0]
    assert (critique["wrong"], critique["abstained"], critique["text"]) == ([0], None, "Wrong steps: [1]")
    assert critique["reused"], "it was kept from the first time"


def test_what_no_critique_answered_is_neither_right_nor_wrong(answering, tmp_path):
    server = answering(right)
    judge = ChatServer(
        say=lambda prompt, seed: "no list" if "2 + " in prompt.split("Solution")[0] else "Wrong steps: []"
    )
    with serving(judge):
        done = run_endpoint(server, *COINS, *critics(judge, "--max-abstained", 1, "--critiques", 2), home=tmp_path)
        assert done.exit_code == 0, done.output
        result, samples = results_of(done)["coins_test"], samples_of(done)
        hushed = ChatServer(say=lambda prompt, seed: "no list")
        with serving(hushed):
            other = critics(hushed, "--set", "temperature=0.5")
            stopped = run_endpoint(server, *COINS, *other, home=tmp_path)
    unjudged = sum(sample["wrong_steps"] is None for sample in samples)
    assert result["cost"]["abstained"] == 2 * unjudged
    assert stopped.exit_code == 1
    assert "more than --max-abstained 0.5 allows" in stopped.stderr


def test_a_critic_that_asks_a_checker_is_refused_where_there_is_none(policy, benchmark_data, tmp_path):
    done = run(
        policy, "--suite", "coins", "--task", "math500", "--task", "gsm8k", "--limit", 2, "--critic", "noisy",
        "--data-dir", benchmark_data, home=tmp_path,
    )  # fmt: skip
    assert done.exit_code == 2
    assert done.stderr.startswith("critic 'noisy' asks the benchmark's step checker, and math500, gsm8k have none;")
    assert not (tmp_path / "evals").exists()
