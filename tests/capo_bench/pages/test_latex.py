"""Tables in LaTeX and CSV, and the paper's figures beside ours."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from summaries import ACCURACY, BASE, cell, row, summary

from capo_bench.inert import for_latex as escaped
from capo_bench.pages.paper import BACKBONES, WEIGHTS, beside
from capo_bench.pages.table import Table, latex
from capo_bench.pages.tables import metric_table
from capo_bench.pages.write import slug, write_tables
from capo_bench.study.plan import Variant
from trainers.config import TrialConfig

TABLE = Table(
    "coins_test/accuracy: accuracy (%)", ("variant", "mean ± 95 %"), (("vote=union", "−1.0 ± 2.0"), ("a&b_c", "–"))
)


def test_a_table_by_hand():
    assert latex(TABLE).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{coins\_test/accuracy: accuracy (\%)}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"variant & mean $\pm$ 95 \% \\",
        r"\midrule",
        r"vote=union & $-$1.0 $\pm$ 2.0 \\",
        r"a\&b\_c & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


@given(st.text())
def test_no_text_is_a_command(text):
    shown = escaped(text)
    assert "\n" not in shown
    assert shown.isascii()
    rest = re.sub(r"\\(?:[&%$#_{}]|text[a-z]+\{\}|ldots\{\})|\$\\[a-z]+\$|\$-\$", "", shown)
    assert not set("\\&%$#_{}~^") & set(rest)


def test_each_table_is_a_csv_and_a_tex_and_old_ones_go(tmp_path):
    (tmp_path / "09-old.csv").write_text("x")
    (tmp_path / "notes.txt").write_text("mine")
    paths = write_tables([TABLE, Table("Cost of a trial (mean)", ("a",), (("b",),))], tmp_path)
    assert [path.name for path in paths] == [
        "01-coins-test-accuracy.csv", "01-coins-test-accuracy.tex", "02-cost-of-a-trial.csv", "02-cost-of-a-trial.tex",
    ]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {*(path.name for path in paths), "notes.txt"}
    with paths[0].open(newline="") as file:
        assert list(csv.reader(file)) == [list(TABLE.headings), *map(list, TABLE.rows)]


@pytest.mark.parametrize("title", ["", "???", "a: b", "X" * 200])
def test_any_title_makes_a_file_name(title):
    assert re.fullmatch(r"[a-z0-9-]{0,48}", slug(title))


def variant(name, **settings):
    return Variant(name, {}, TrialConfig.model_validate(settings))


def test_weights_stand_beside_the_papers_with_the_word_second_hand():
    variants = [variant("2:1"), variant("1:1", credit={"w_whole": 1.0}), variant("grpo_rule", method="grpo_rule")]
    rows = [row(one.name, {ACCURACY: cell(0.5)}) for one in variants]
    table = beside(summary(*rows, name="weights"), variants)
    assert table is not None
    assert "2nd-hand, other scale" in table.title
    assert table.rows == (("2:1", "50.0 ± 3.0", "29.4"),)
    assert WEIGHTS[2.0, 5.0] == 27.4


def test_backbones_stand_beside_the_papers_and_ours_that_it_has_not_first():
    variants = [variant("capo"), variant("grpo_rule", method="grpo_rule")]
    study = summary(BASE, row("capo", {ACCURACY: cell(0.6, 0.05)}), name="main")
    table = beside(study, variants)
    assert table is not None
    assert table.rows[0] == ("tiny (ours)", "60.0 ± 3.0", "+5.0 [+2.0, +8.0]", "–", "–")
    assert ("Qwen2.5-7B", "–", "–", "37.0", "+2.3") in table.rows
    assert len(table.rows) == 1 + len(BACKBONES)


def test_other_studies_have_nothing_of_the_papers():
    assert beside(summary(BASE), [variant("capo")]) is None


def test_a_reports_table_is_latex_too():
    assert r"\toprule" in latex(metric_table(summary(BASE, row("x", {ACCURACY: cell(0.6, 0.05, holm=0.2)})), ACCURACY))
