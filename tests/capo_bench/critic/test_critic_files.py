"""The files, the page and the tables of a measurement."""

from __future__ import annotations

import csv
import io
import json

import pytest
from controlcritics import alarmed, measured, mute, oracle

from capo_bench.critic.ask import CritiqueTerms
from capo_bench.critic.summary import summarise
from capo_bench.pages.critic import build_tables, cost_in_words, draw_figures, write_title
from capo_bench.pages.critic import write_measurement as write
from capo_bench.pages.critic_tables import share_of
from capo_bench.store.home import Home
from trainers.credit.critique import Critique


def half(solution, index):
    """See errors in even critiques, abstain in every fourth."""
    return (
        mute(solution, index) if index == 3 else oracle(solution, index) if index % 2 == 0 else alarmed(solution, index)
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    found = measured(half, "coins", home, limit=40)
    summary = summarise(found)
    return found, summary, write(found, summary, Home(home))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


TABLE = "02-calibration-of-the-share-of-k-votes-which-is-wha"


def test_every_file_is_there(made):
    found, _, files = made
    names = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
    drawings = {f"figures/{name}.svg" for name in ("precision_recall", "reliability")}
    tables_ = {f"tables/{name}.{end}" for name in ("01-steps-flagged", TABLE) for end in ("csv", "tex")}
    assert names == {
        "SHA256SUMS",
        "critiques.jsonl",
        "provenance.json",
        "report.html",
        "report.md",
        "result.json",
        *tables_,
        *drawings,
    }
    assert files.name == found.id


def test_critiques_are_kept_with_what_they_cost(made):
    found, _, files = made
    lines = [json.loads(line) for line in (files / "critiques.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["solution"] for line in lines] == [solution.id for solution in found.solutions]
    assert [critique["abstained"] for critique in lines[0]["critiques"]] == [None, None, None, "truncated"]
    assert lines[0]["greedy"][0]["usage"] == {
        "prompt_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "seconds": 0.0, "money": 0.0,
    }  # fmt: skip
    assert lines[0]["wrong"] == sorted(found.solutions[0].labels.wrong)


def test_the_result_holds_all_numbers(made):
    found, summary, files = made
    result = json.loads((files / "result.json").read_text(encoding="utf-8"))
    assert result["id"] == found.id
    assert result["identity"]["critic"]["name"] == "control"
    assert (result["steps"], result["wrong"]) == (summary.steps, summary.wrong)
    assert result["cost"]["abstained"] == {"truncated": 40}
    assert result["votes"] == summary.votes
    assert (result["votes"][0]["rule"], result["votes"][0]["at_least"]) == ("greedy", None)


def test_tables_as_files(made):
    _, summary, files = made
    votes = rows((files / "tables" / "01-steps-flagged.csv").read_text(encoding="utf-8"))
    assert [(row["rule"], row["k"]) for row in votes[:3]] == [("greedy", "1"), ("any rule", "1"), ("intersection", "2")]
    assert votes[3]["recall"] == share_of(summary.votes[3], "recall")


def test_the_page_is_one_file(made):
    files = made[2]
    html = (files / "report.html").read_text(encoding="utf-8")
    assert html.count("<script") == 1
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert html.count("<svg") == 4, "two figures in two widths"
    assert "Critic control on coins" in html
    assert "40 of 200 critiques without a verdict (truncated 40)" in html
    assert "default-src 'none'" in html


def test_names_are_escaped(made, tmp_path):
    found, summary, _ = made
    from dataclasses import replace

    loaded = replace(found.loaded, left_out={"<b>bad</b>": 1})
    files = write(replace(found, loaded=loaded), summary, Home(tmp_path))
    assert "<b>bad" not in (files / "report.html").read_text(encoding="utf-8")


def test_one_critique_is_told_once_for_all_rules(made):
    _, summary, _ = made
    votes = build_tables(summary)[0]
    assert [row[:2] for row in votes.rows] == [
        ("greedy", "1"), ("any rule", "1"), ("intersection", "2"), ("intersection = majority", "4"),
        ("majority = union", "2"), ("union", "4"),
    ]  # fmt: skip
    assert votes.headings == ("rule", "k", "precision", "recall", "F1", "false alarms")


def test_subsets_have_a_table_of_their_own(benchmark_data, tmp_path):
    summary = summarise(measured(oracle, "processbench", tmp_path, benchmark_data, CritiqueTerms(1), limit=40))
    first, subsets, *_ = build_tables(summary)
    assert first.title == "First error, mean: % [95 % interval]"
    assert [row[:4] for row in first.rows] == [
        ("greedy", *["100.0 [100.0, 100.0]"] * 3), ("any rule", *["100.0 [100.0, 100.0]"] * 3),
    ]  # fmt: skip
    assert [row[2] for row in subsets.rows[:5]] == ["gsm8k", "math", "olympiadbench", "omnimath", "mean"]


def test_where_some_solutions_have_no_verdict_their_number_is_shown(tmp_path):
    def sometimes(solution, index):
        return mute(solution, index) if solution.labels.wrong else oracle(solution, index)

    found = measured(sometimes, "coins", tmp_path, terms=CritiqueTerms(2, max_abstained=1), limit=40)
    summary = summarise(found)
    table = build_tables(summary)[0]
    assert table.headings[-1] == "no verdict"
    assert {row[-1] for row in table.rows} == {f"{100 * summary.erroneous / summary.solutions:.1f}"}
    assert (write(found, summary, Home(tmp_path)) / "report.html").exists()


def test_nothing_to_draw_without_any_verdict(tmp_path):
    found = measured(mute, "coins", tmp_path, terms=CritiqueTerms(2, max_abstained=1), limit=10)
    summary = summarise(found)
    assert draw_figures(summary) == []
    assert summary.alpha.value is None
    assert (write(found, summary, Home(tmp_path)) / "report.html").exists()


COST = {
    "critiques": 4, "reused": 0, "abstained": {}, "prompt_tokens": 2000, "cached_tokens": 0, "output_tokens": 0,
    "money": 0.0, "seconds": 1.5,
}  # fmt: skip


def test_what_it_cost(made):
    _, summary, _ = made
    # Sampled critiques 0 and 2 of 40 solutions are told with 10 tokens read, 5 of them kept, 2 written, half a coin.
    cost = summary.cost
    tokens = [cost[f"{name}_tokens"] for name in ("prompt", "cached", "output")]
    assert (cost["critiques"], tokens, cost["money"]) == (200, [800, 400, 160], 40)
    assert cost_in_words({**COST, "reused": 1, "cached_tokens": 500, "output_tokens": 10, "money": 0.25}) == [
        "Abstentions: 0 of 4 critiques without a verdict.",
        "Cost: 2,000 prompt tokens (500 cached), 10 written (2.5 a critique), 1.5 s, price 0.2500; "
        "1 critiques were there from before.",
    ]


def test_of_what_writes_nothing_only_what_it_read_is_told():
    assert cost_in_words(COST)[1] == "Cost: 2,000 prompt tokens (0 cached), 1.5 s."


@pytest.mark.parametrize(
    ("share", "text"),
    [
        ((None, None, None), "–"),
        ((0.671, 0.62, 0.7131), "67.1 [62.0, 71.3]"),
        ((0.008, 0.004, 0.012), "0.8 [0.4, 1.2]"),
        ((1.0, None, None), "100.0"),
    ],
)
def test_shares_in_per_cent(share, text):
    assert share_of(dict(zip(("f1", "f1_low", "f1_high"), share, strict=True)), "f1") == text


def test_the_title_names_the_model(made):
    from dataclasses import replace

    found, _, _ = made
    assert write_title(found) == "Critic control on coins"

    class Named(type(found.request.critic)):
        model: str = "a/b"

    assert (
        write_title(replace(found, request=replace(found.request, critic=Named()))) == "Critic control (a/b) on coins"
    )


def test_the_greedy_critique_is_optional(tmp_path):
    summary = summarise(measured(oracle, "coins", tmp_path, terms=CritiqueTerms(2, greedy=False), limit=8))
    assert {row["rule"] for row in summary.votes} == {"intersection", "majority", "union"}
    assert summary.cost["critiques"] == 16


def test_reused_critiques_are_counted(tmp_path):
    def kept(solution, index):
        return Critique(frozenset(), reused=index == 0)

    assert summarise(measured(kept, "coins", tmp_path, terms=CritiqueTerms(2), limit=8)).cost["reused"] == 8
