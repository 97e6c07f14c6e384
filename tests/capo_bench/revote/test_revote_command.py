"""`capo-bench revote` from the command line: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from stored import STUDY, StoredHome

from capo_bench.cli import main
from trainers.rollouts import read_rollouts, write_step


def revote(stored: StoredHome, *arguments: object) -> Result:
    words = ["revote", stored.file, "--home", stored.home.path, *arguments]
    return CliRunner().invoke(main, [str(word) for word in words])


def table(stored: StoredHome) -> list[dict[str, str]]:
    with (stored.home.study("stored").profile("quick").revote / "revote.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_study_is_replayed_by_critic(done: StoredHome):
    result = revote(done)
    assert result.exit_code == 0, result.output
    assert "Critic noisy: 4 trials, 96 rollouts" in result.output
    assert "Critic exact: 2 trials, 48 rollouts" in result.output
    assert "Left out: grpo_rule seed 0, grpo_rule seed 1: method grpo_rule asks no critic." in result.output
    noisy = [row for row in table(done) if row["critic"] == "noisy"]
    assert {row["k"] for row in noisy if row["rule"] == "union"} == {"1", "2", "3", "4"}
    assert {row["k"] for row in noisy if row["rule"] == "greedy"} == {"1"}
    assert [row["trained_with"] for row in noisy if (row["rule"], row["k"]) == ("union", "4")] == ["2"]


def test_files_of_equal_results_are_equal(done: StoredHome):
    folder = done.home.study("stored").profile("quick").revote
    revote(done)
    first = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    revote(done)
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first
    assert {path.name for path in folder.iterdir()} == {
        "revote.csv", "revote.json", "revote.html", "revote.md", "figures", "tables",
    }  # fmt: skip


def test_the_page_stands_alone_and_shows_rules_by_k(done: StoredHome):
    revote(done)
    page = (done.home.study("stored").profile("quick").revote / "revote.html").read_text(encoding="utf-8")
    assert "noisy: F1 of the labels, " in page
    assert "majority of 4: correlation with exact advantages, weights 2,1 " in page
    assert page.count("<script") == 1
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_file_of_all_numbers(done: StoredHome):
    revote(done)
    found = json.loads((done.home.study("stored").profile("quick").revote / "revote.json").read_text(encoding="utf-8"))
    assert {trial["variant"] for trial in found["trials"]} == {"union", "majority", "exact"}
    assert all(trial["steps"] == 3 for trial in found["trials"])
    assert {row["why"] for row in found["left_out"]} == {"method grpo_rule asks no critic"}


def test_how_rewards_change_is_in_every_output(done: StoredHome):
    """The exact critic has one critique, which trained: no reward changes. The noisy one's other rules change some."""
    shown = revote(done).output
    folder = done.home.study("stored").profile("quick").revote
    page = (folder / "revote.html").read_text(encoding="utf-8")
    for heading in ("reward changed", "mean |Δr|"):
        assert heading in shown
        assert f'<th scope="col">{heading}</th>' in page
    rows = json.loads((folder / "revote.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["rule"] != "first_index"]  # of several wrong steps it names one
    assert {(row["reward_changed"], row["reward_moved"]) for row in rows if row["critic"] == "exact"} == {(0, 0)}
    assert all(0 < row["reward_changed"] < 1 for row in rows if row["critic"] == "noisy")
    # A rule that names a set moves a reward by W_process = 1 or not at all, but by a part of it in a rollout that no
    # critique answered: that is charged its group's mean.
    sets = [row for row in rows if row["rule"] != "average"]
    assert all(0 <= row["reward_moved"] <= row["reward_changed"] + 1e-9 for row in sets)


def test_precision_of_a_union_falls_and_its_recall_rises_with_k(done: StoredHome):
    revote(done)
    rows = {row["k"]: row for row in table(done) if (row["critic"], row["rule"]) == ("noisy", "union")}
    assert float(rows["1"]["precision"]) > float(rows["4"]["precision"])
    assert float(rows["1"]["recall"]) < float(rows["4"]["recall"])
    assert float(rows["1"]["recall_low"]) <= float(rows["1"]["recall"]) <= float(rows["1"]["recall_high"])


def test_rules_k_and_weights_can_be_chosen(done: StoredHome):
    result = revote(done, "--rules", "union,at_least:2", "-k", "1,4", "--weights", "2,1", "--weights", "2,0.5")
    assert result.exit_code == 0, result.output
    settings = {(r["rule"], r["at_least"], r["k"], r["w_process"]) for r in table(done) if r["critic"] == "noisy"}
    both = ("1.0", "0.5")
    assert settings == {
        *(("union", "", k, weight) for k in ("1", "4") for weight in both),
        *(("at_least", "2", "4", weight) for weight in both),  # of one critique, two cannot agree
    }
    assert "2,0.5" in result.output


def test_one_trial(done: StoredHome):
    trial, folder = done.trial("union")
    words = ["revote", trial.id[:8], "--home", str(done.home.path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "Critic noisy: 1 trials, 24 rollouts" in result.output
    with (folder.path / "revote" / "revote.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    own = next(row for row in rows if (row["rule"], row["k"]) == ("union", "4"))
    assert (own["trained_with"], own["label_agreement"]) == ("1", "1.0")
    assert {own[name] for name in ("reward_changed", "reward_moved", "sign_changed", "moved")} == {"0.0"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "majorty"], "unknown voting rule 'majorty' (did you mean 'majority'?)"),
        (["--rules", "at_least"], "'at_least' takes the number of critiques that must agree"),
        (["--rules", "union:2"], "'union' takes no number"),
        (["-k", "0"], "'0' is no number of critiques"),
        (["-k", "two"], "'two' is no number of critiques"),
        (["--weights", "2"], "give W_whole and W_process"),
        (["--weights", "2,-1"], "give W_whole and W_process"),
        (["--weights", "nan,1"], "give W_whole and W_process"),
    ],
)
def test_a_wrong_option_says_what_is_right(done: StoredHome, arguments, message):
    result = revote(done, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split()).replace("│ ", "")


def test_a_study_without_critiques_says_why(fresh: StoredHome):
    fresh.finish("grpo_rule")
    result = revote(fresh)
    assert result.exit_code == 2
    assert "nothing to replay in study 'stored':" in result.output
    assert "method grpo_rule asks no critic" in result.output
    assert "not finished; `capo-bench run` finishes it" in result.output


def test_critics_of_answers_say_nothing_of_steps(fresh: StoredHome):
    fresh.finish("union")
    for seed in (0, 1):
        _, folder = fresh.trial("union", seed)
        for step in list(read_rollouts(folder.rollouts)):
            rows = [replace(rollout, aim="answer") for rollout in step.rollouts]
            write_step(folder.rollouts, step.step, 0, rows)
    result = revote(fresh)
    assert result.exit_code == 2
    assert "asks its critic about answers, not about steps" in result.output


def test_more_critiques_than_were_stored(done: StoredHome):
    result = revote(done, "-k", "8")
    assert result.exit_code == 2
    assert "stored 4 critiques a rollout, fewer than k = 8" in result.output


def test_a_rule_that_needs_more_critiques_than_were_stored_is_told(done: StoredHome):
    page = done.home.study("stored").profile("quick").revote / "revote.csv"
    revote(done)
    before = page.read_bytes()
    result = revote(done, "--rules", "at_least:9")
    assert result.exit_code == 2
    assert "rule at_least 9: needs more critiques than were requested or stored (at most 4 a rollout)" in result.output
    assert page.read_bytes() == before
    some = revote(done, "--rules", "majority,at_least:9", "-k", "2,9")
    assert some.exit_code == 0
    assert "Not replayed: rule at_least 9: needs more" in some.output
    assert "Not replayed: k = 9: needs more" in some.output


def test_a_trial_that_stored_nothing_is_left_out_and_named(fresh: StoredHome):
    fresh.finish("union", "majority")
    _, folder = fresh.trial("union")
    for path in folder.rollouts.iterdir():
        path.unlink()
    result = revote(fresh)
    assert result.exit_code == 0, result.output
    assert "Critic noisy: 3 trials" in result.output
    assert "holds no rollouts; run the trial again" in " ".join(result.output.split())


def test_a_damaged_step_is_named_and_the_rest_counts(fresh: StoredHome):
    fresh.finish("union")
    _, folder = fresh.trial("union")
    (folder.rollouts / "00002.0.jsonl.gz").write_bytes(b"torn")
    result = revote(fresh)
    assert "00002.0.jsonl.gz: cannot be read as stored rollouts" in " ".join(result.output.split())
    assert "Critic noisy: 2 trials, 40 rollouts" in result.output


def test_trials_that_stored_fewer_critiques_are_in_no_row_of_a_larger_k(fresh: StoredHome):
    fresh.study = STUDY.replace(
        "{name: majority, set: {credit.vote: majority}}", "{name: two, set: {credit.critiques: 2}}"
    )
    result = revote(fresh.finish())
    assert result.exit_code == 0, result.output
    trials = {row["k"]: row["trials"] for row in table(fresh) if (row["critic"], row["rule"]) == ("noisy", "union")}
    assert trials == {"1": "4", "2": "4", "3": "2", "4": "2"}
    assert "4 (2 of 4 trials)" in result.output
    assert "Trials that stored fewer than k critiques are in no row of that k" in result.output


def test_what_takes_long_is_shown_with_the_time_left(done: StoredHome, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("capo_bench.run.meter.QUIET_SECONDS", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as far as rich can tell
    result = revote(done)
    assert result.exit_code == 0
    assert "replaying" in result.stderr
    assert "18/18" in result.stderr
