"""Tables and their three renderers."""

import csv
import io
import math
from dataclasses import replace

import pytest
from summaries import ACCURACY, BASE, around, cell, row, summary

from capo_bench.analysis.power import Power
from capo_bench.inert import for_markdown as escaped
from capo_bench.pages.critic_tables import share_lines
from capo_bench.pages.report import Report
from capo_bench.pages.tables import build_first_table, build_metric_table, cost_table, format_all_csv, power_table
from capo_bench.pages.text import Table, render_markdown_table

CAPO = row("capo", {ACCURACY: cell(0.673, 0.123, holm=0.0123), "coins_test/steps": cell(5.5)}, work=66, critic=900_000)


def test_the_metric_table():
    table = build_metric_table(summary(BASE, CAPO), ACCURACY)
    assert table.title == "coins_test/accuracy: accuracy on coins_test (%), higher is better"
    assert table.headings == ("variant", "seeds × problems", "mean ± 95 %", "difference to grpo_rule", "Holm p")
    assert table.rows == (
        ("grpo_rule (baseline)", "3 × 256", "55.0 ± 3.0", "–", "–"),
        ("capo", "3 × 256", "67.3 ± 3.0", "+12.3 [+9.3, +15.3]", "0.012"),
    )


def test_five_columns_stand_beside_the_answer():
    table = build_first_table(summary(BASE, CAPO), ["grpo_rule", "capo"])
    assert table.headings == ("variant", "accuracy (%)", "difference [95 %]", "Holm p", "cost (time)")
    assert table.rows == (
        ("grpo_rule (baseline)", "55.0 ± 3.0", "–", "–", "1.00×"),
        ("capo", "67.3 ± 3.0", "+12.3 [+9.3, +15.3]", "0.012", "1.10×"),
    )


def test_changes_from_the_start_have_their_column_where_there_is_a_start():
    start = row("sft", {ACCURACY: cell(0.4)})
    table = build_metric_table(summary(start, BASE, start="sft"), ACCURACY)
    assert table.headings[-1] == "change from sft"
    assert table.rows[0][0] == "sft (start)"


def test_a_number_without_an_interval_is_not_shown():
    lone = row("lone", {ACCURACY: cell(0.7)})
    known = build_metric_table(summary(BASE, lone), ACCURACY)
    assert len(known.rows) == 2
    nan = float("nan")
    bare = row("bare", {ACCURACY: type(cell(0.7))(around(0.7, nan))})
    assert len(build_metric_table(summary(BASE, bare), ACCURACY).rows) == 1


def test_a_difference_on_fewer_seeds_says_its_n():
    mixed = row("capo", {ACCURACY: type(cell(0.7))(around(0.7, 0.03), around(0.1, 0.03, seeds=2), 0.2)})
    shown = build_metric_table(summary(BASE, mixed), ACCURACY).rows[1]
    assert shown[3] == "+10.0 [+7.0, +13.0] (n = 2 seeds × 256 problems)"


def test_the_power_table():
    seen = replace(cell(0.57, 0.02, holm=0.3), power=Power(0.081, 12, math.inf))
    table = power_table(summary(BASE, row("capo", {ACCURACY: seen})))
    assert table.title == "Power on coins_test/accuracy, of the comparisons with grpo_rule"
    assert table.headings[3:] == ("detectable (80 %)", "seeds for the observed", "or problems for it")
    assert table.rows == (("capo", "3 × 256", "+2.0 [−1.0, +5.0]", "8.1", "12", "no number"),)


def test_with_one_seed_the_power_table_has_dashes():
    one = row("capo", {ACCURACY: cell(0.57, 0.02, holm=0.3, seeds=1)}, seeds=1)
    assert power_table(summary(BASE, one)).rows[0][3:] == ("–", "–", "–")


def test_without_a_comparison_there_is_no_power():
    assert power_table(summary(BASE)).rows == ()


def test_the_cost_table():
    table = cost_table(summary(BASE, CAPO))
    assert table.rows[1] == (
        "capo",
        "3 of 3",
        "66.0 (1.10)",
        "1,000",
        "900,000 (900.00)",
        "0 (0)",
        "0",
        "–",
        "5.50 ± 0.03",
        "–",
    )


def test_a_report_has_a_table_a_metric_and_one_of_costs(report: Report):
    tables = (*report.page.section("Results").tables, *report.page.section("Cost").tables)
    assert [table.title.split(":")[0] for table in tables] == [
        "coins_test/accuracy",
        "coins_test/wrong_step_rate",
        "Cost of training (mean over seeds), and steps and tokens of a response (coins_test)",
    ]
    for table in tables:
        assert all(len(cells) == len(table.headings) for cells in table.rows)


HOSTILE = "a|b\n<script>x</script> [red]*bold*[/red] \x1b[31m"


def test_markdown_shows_a_hostile_name_as_it_stands():
    text = render_markdown_table(Table("t", ("variant", "n"), ((HOSTILE, "1"),)))
    assert len(text.splitlines()) == 3
    assert "<script>" not in text.replace("\\<", "")
    assert text.count("|") - text.count("\\|") == 9


@pytest.mark.parametrize(("text", "shown"), [("a_b", "a\\_b"), ("a\n b", "a b"), ("±5 %", "±5 %")])
def test_escaping(text, shown):
    assert escaped(text) == shown


def test_the_csv_holds_every_number_in_full(report: Report):
    lines = list(csv.DictReader(io.StringIO(format_all_csv(report.summary))))
    assert {line["metric"] for line in lines} >= {
        "coins_test/accuracy",
        "coins_test/wrong_step_rate",
        "coins_test/steps",
    }
    line = next(x for x in lines if (x["variant"], x["metric"]) == ("intersection", "coins_test/accuracy"))
    cell_ = report.summary.row("intersection").cells["coins_test/accuracy"]
    assert float(line["mean"]) == cell_.value.mean
    assert float(line["versus_baseline_low"]) == cell_.versus.low
    assert float(line["holm_p"]) == cell_.holm
    assert line["critic_tokens"] == "900000.0"
    base = next(x for x in lines if (x["variant"], x["metric"]) == ("grpo_rule", "coins_test/accuracy"))
    assert base["versus_baseline_mean"] == base["detectable"] == ""
    assert [float(line[name]) for name in ("detectable", "seeds_needed", "problems_needed")] == [
        cell_.power.detectable, cell_.power.seeds, cell_.power.problems,
    ]  # fmt: skip


def test_rules_that_say_the_same_share_a_line():
    lines = [
        *((rule, 1, ("1", "50.0")) for rule in ("union", "majority", "intersection")),
        *((rule, 2, ("2", "60.0")) for rule in ("union", "majority")),
        *(("intersection", 2, ("2", "40.0")), ("union", 4, ("4", "70.0")), ("majority", 4, ("4", "50.0"))),
    ]
    names = [name for name, _ in share_lines(lines, {("majority", 2), ("union", 4)})]
    assert names == ["any rule", "union = majority (trained)", "intersection", "union (trained)", "majority"]
