"""Tables and their three renderers."""

import csv
import io
import math
from dataclasses import replace

import pytest
from rich.console import Console
from summaries import ACCURACY, BASE, around, cell, row, summary

from capo_bench.report.build import Report
from capo_bench.report.overall import Combined, Overall
from capo_bench.report.power import Power
from capo_bench.report.resample import Share
from capo_bench.report.tables import (
    Table,
    comma_separated,
    cost_table,
    escaped,
    markdown,
    metric_table,
    overall_table,
    plain,
    power_table,
    tables,
    terminal,
)

CAPO = row("capo", {ACCURACY: cell(0.673, 0.123, holm=0.0123), "coins_test/steps": cell(5.5)}, wall=66, critic=900_000)


def test_the_metric_table():
    table = metric_table(summary(BASE, CAPO), ACCURACY)
    assert table.title == "coins_test/accuracy: accuracy on coins_test (%), higher is better"
    assert table.headings == ("variant", "seeds × problems", "mean ± 95 %", "difference to grpo_rule", "Holm p")
    assert table.rows == (
        ("grpo_rule (baseline)", "3 × 256", "55.0 ± 3.0", "–", "–"),
        ("capo", "3 × 256", "67.3 ± 3.0", "+12.3 [+9.3, +15.3]", "0.012"),
    )


def test_changes_from_the_start_have_their_column_where_there_is_a_start():
    start = row("sft", {ACCURACY: cell(0.4)})
    table = metric_table(summary(start, BASE, start="sft"), ACCURACY)
    assert table.headings[-1] == "change from sft"
    assert table.rows[0][0] == "sft (start)"


def test_a_number_without_an_interval_is_not_shown():
    lone = row("lone", {ACCURACY: cell(0.7)})
    known = metric_table(summary(BASE, lone), ACCURACY)
    assert len(known.rows) == 2
    nan = float("nan")
    bare = row("bare", {ACCURACY: type(cell(0.7))(around(0.7, nan))})
    assert len(metric_table(summary(BASE, bare), ACCURACY).rows) == 1


def test_a_difference_on_fewer_seeds_says_its_n():
    mixed = row("capo", {ACCURACY: type(cell(0.7))(around(0.7, 0.03), around(0.1, 0.03, seeds=2), 0.2)})
    shown = metric_table(summary(BASE, mixed), ACCURACY).rows[1]
    assert shown[3] == "+10.0 [+7.0, +13.0] (n = 2 seeds × 256 problems)"


def test_the_power_table():
    seen = replace(cell(0.57, 0.02, holm=0.3), improvement=Share(0.75, 0.31, 0.95, 3), power=Power(0.081, 12, math.inf))
    table = power_table(summary(BASE, row("capo", {ACCURACY: seen})))
    assert table.title == "Power on coins_test/accuracy, of the comparisons with grpo_rule"
    assert table.headings[3:] == (
        "P(better) [95 %]", "detectable (80 %)", "seeds for the observed", "or problems for it",
    )  # fmt: skip
    assert table.rows == (("capo", "3 × 256", "+2.0 [−1.0, +5.0]", "0.75 [0.31, 0.95]", "8.1", "12", "no number"),)


def test_with_one_seed_the_power_table_has_dashes():
    one = row("capo", {ACCURACY: cell(0.57, 0.02, holm=0.3, seeds=1)}, seeds=1)
    assert power_table(summary(BASE, one)).rows[0][3:] == ("–", "–", "–", "–")


def test_without_a_comparison_there_is_no_power():
    assert power_table(summary(BASE)).rows == ()


LONGER = "coins_longer/accuracy"
BOTH = Combined((0.5, 0.45, 0.556), (0.4, 0.3, 0.5), 3, (256, 256))
ABOVE = Combined((0.1, 0.05, 0.15), (0.08, -0.01, 0.12), 3, (256, 256))


def test_the_table_over_all_tasks():
    found = {"grpo_rule": Overall(BOTH), "capo": Overall(BOTH, ABOVE)}
    study = summary(BASE, CAPO, metrics=(ACCURACY, "coins_test/wrong_step_rate", LONGER), overall=found)
    table = overall_table(study)
    assert table.title == "Accuracy over 2 tasks (coins_test, coins_longer), %: it describes and decides nothing"
    assert table.headings[1:] == (
        "seeds × tasks × problems", "mean over tasks [95 %]", "means: difference to grpo_rule",
        "interquartile mean [95 %]", "IQMs: difference to grpo_rule",
    )  # fmt: skip
    n, mean, iqm = "3 × 2 × 256", "50.0 [45.0, 55.6]", "40.0 [30.0, 50.0]"
    assert table.rows == (
        ("grpo_rule (baseline)", n, mean, "–", iqm, "–"),
        ("capo", n, mean, "+10.0 [+5.0, +15.0]", iqm, "+8.0 [−1.0, +12.0]"),
    )
    assert tables(study)[-2] == table
    assert tables(replace(study, overall={}))[-2] != table


def test_the_table_over_all_tasks_says_the_problems_of_each_and_of_differences():
    uneven, fewer = replace(BOTH, problems=(1319, 30)), replace(ABOVE, seeds=2, problems=(1319, 30))
    study = summary(BASE, CAPO, metrics=(ACCURACY, LONGER), overall={"capo": Overall(uneven, fewer)})
    (shown,) = overall_table(study).rows
    assert shown[1] == "3 × 2 × (1,319, 30)"
    assert shown[3] == "+10.0 [+5.0, +15.0] (n = 2 × 2 × (1,319, 30))"


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
    assert [table.title.split(":")[0] for table in report.tables] == [
        "coins_test/accuracy",
        "coins_test/wrong_step_rate",
        "Cost of a trial (mean over seeds), and steps and tokens of a response (coins_test)",
    ]
    for table in tables(report.summary):
        assert all(len(cells) == len(table.headings) for cells in table.rows)


HOSTILE = "a|b\n<script>x</script> [red]*bold*[/red] \x1b[31m"


def test_markdown_shows_a_hostile_name_as_it_stands():
    text = markdown(Table("t", ("variant", "n"), ((HOSTILE, "1"),)))
    assert len(text.splitlines()) == 3
    assert "<script>" not in text.replace("\\<", "")
    assert text.count("|") - text.count("\\|") == 9


def test_the_terminal_shows_a_hostile_name_without_obeying_it():
    console = Console(file=io.StringIO(), width=200, color_system="standard", force_terminal=True)
    console.print(terminal(Table("t", ("variant", "n"), ((HOSTILE, "1"),))))
    shown = console.file.getvalue()
    assert "[red]*bold*[/red]" in shown
    assert "\x1b[31m" not in shown


@pytest.mark.parametrize(("text", "shown"), [("a_b", "a\\_b"), ("a\n b", "a b"), ("±5 %", "±5 %")])
def test_escaping(text, shown):
    assert escaped(text) == shown


def test_plain_text_has_no_control_characters():
    assert plain("a\x1b[0m\tb") == "a�[0m�b"


def test_the_csv_holds_every_number_in_full(report: Report):
    lines = list(csv.DictReader(io.StringIO(comma_separated(report.summary))))
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
    assert base["versus_baseline_mean"] == base["detectable"] == base["improvement"] == ""
    ends = float(line["versus_baseline_bootstrap_low"]), float(line["versus_baseline_bootstrap_high"])
    assert ends == cell_.bootstrap
    assert (float(line["improvement"]), float(line["improvement_low"])) == (
        cell_.improvement.value,
        cell_.improvement.low,
    )
    assert [float(line[name]) for name in ("detectable", "seeds_needed", "problems_needed")] == [
        cell_.power.detectable, cell_.power.seeds, cell_.power.problems,
    ]  # fmt: skip
