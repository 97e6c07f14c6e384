"""``capo-bench ls``: the shipped studies, their questions and what each profile costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.cli.ls import _format_cost
from capo_bench.study.load import list_shipped_studies, read_study


def printed(*args: str) -> str:
    done = CliRunner().invoke(main, ["ls", *args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def text() -> str:
    return printed()


@pytest.fixture(scope="module")
def costs() -> dict[tuple[str, str], dict[str, Any]]:
    """What ``--json`` says of each profile, by study and profile."""
    studies = json.loads(printed("--json"))
    assert [study["study"] for study in studies] == list_shipped_studies()
    assert all(study["question"].endswith("?") for study in studies)
    return {(study["study"], one["profile"]): one for study in studies for one in study["profiles"]}


def test_every_study_is_there_with_its_question_and_every_profile(text: str) -> None:
    listed = text.partition("\n\n")[0]
    words = " ".join(listed.split())
    for name in list_shipped_studies():
        study = read_study(name)
        assert f"{name}: {' '.join(study.study.question.split())} --profile {study.profiles[0]} " in words
    lines = [line for line in listed.splitlines() if "--profile" in line]
    assert len(lines) == sum(len(read_study(name).profiles) for name in list_shipped_studies())


def test_no_line_is_wider_than_80_columns_and_costs_stand_below_each_other(text: str) -> None:
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len({line.index(" critiques ") for line in lines if "--profile" in line}) == 1


def test_the_costs_of_the_profiles_of_a_study_in_lines(text: str) -> None:
    voting = text[text.index("voting: ") : text.index("weights: ")].splitlines()[-4:]
    assert [" ".join(line.split()) for line in voting] == [
        "--profile quick 24 trials 119,808 critiques about 10 min",
        "--profile full 36 trials 179,712 critiques about 32 min",
        "--profile gpu 15 trials 460,800 critiques 1 GPU, about 15 h 21 min",
        "--profile paper 15 trials 7,372,800 critiques 1 GPU, about 23 days",
    ]


def test_calls_and_time_by_hand(costs: dict[tuple[str, str], dict[str, Any]]) -> None:
    quick = costs["voting", "quick"]
    assert (quick["variants"], quick["trials"], quick["workers"], quick["gpus"]) == (6, 24, 2, [0])
    rollouts = 24 * 96  # of a trial; one variant asks the exact critic once, three the embedded one four times
    assert (quick["critic_calls"], quick["critic_calls_known"]) == (4 * rollouts * (1 + 3 * 4), "exactly")
    shared = 280 * 64 * 4.1e-3 + 280 * 64 * 7.8e-3  # the cold start and the embedded critic
    answers = 304 * (8 + 4)  # eight sampled of one task, and a greedy one of four
    longest = rollouts * 9.3e-3 + rollouts * 4 * 1.8e-3 + answers * 3.6e-3
    trials = 20 * rollouts * 9.3e-3 + 12 * rollouts * 4 * 1.8e-3 + 24 * answers * 3.6e-3
    assert 0 <= quick["seconds"] - (shared + trials) / 2 < longest  # shared out, but for what is idle at the end


def test_what_a_budget_allows_is_said_to_be_a_guess(costs: dict[tuple[str, str], dict[str, Any]], text: str) -> None:
    assert costs["compute_matched", "quick"]["critic_calls_known"] == "about"
    # By the tokens that the study states, 6.0e19 FLOPs are 114 steps with four critiques, 230 with one; 2 seeds.
    paper = costs["compute_matched", "paper"]
    assert (paper["critic_calls"], paper["critic_calls_known"]) == ((114 * 4 + 230) * 64 * 16 * 2, "about")
    assert " about 1,404,928 critiques " in text


def test_where_gpus_are_needed_their_number_stands_beside_the_time(
    costs: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert all((one["gpu_hours"] > 0) == (one["gpus"] != [0]) for one in costs.values())
    assert costs["main", "paper"]["gpus"] == [1, 2, 8]


@pytest.mark.parametrize(
    ("gpus", "seconds", "told"),
    [
        ([0], 90.0, "about 2 min"),
        ([0], 7200.0, "about 2 h 00 min"),
        ([1], 71 * 3600.0, "1 GPU, about 71 h 00 min"),
        ([1], 72 * 3600.0, "1 GPU, about 3 days"),
        ([0], None, "time not known"),
        ([2], None, "2 GPUs, time not known"),
        ([0, 1], 7200.0, "0-1 GPU, about 2 h 00 min"),
        ([1, 8], None, "1-8 GPUs, time not known"),
    ],
)
def test_a_cost_in_words(gpus: list[int], seconds: float | None, told: str) -> None:
    assert _format_cost(gpus, seconds) == told
