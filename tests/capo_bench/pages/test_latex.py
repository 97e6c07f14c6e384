"""Tables in LaTeX and CSV."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.inert import for_latex as escaped
from capo_bench.pages.page import Page, Section, make_slug, write_page
from capo_bench.pages.text import Table, render_latex_table
from capo_bench.study.plan import Variant
from trainers.config import TrialConfig

TABLE = Table(
    "coins_test/accuracy: accuracy (%)", ("variant", "mean ± 95 %"), (("vote=union", "−1.0 ± 2.0"), ("a&b_c", "–"))
)


def test_a_table_by_hand():
    assert render_latex_table(TABLE).splitlines() == [
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
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "09-old.csv").write_text("x")
    (folder / "notes.txt").write_text("mine")
    costs = Table("Cost of a trial (mean)", ("a",), (("b",),))
    lists = Section("apart", tables=[Table("A list", ("c",), (("d",),))], apart=True)
    paths = write_page(Page("t", sections=[Section("numbers", tables=[TABLE, costs]), lists]), tmp_path, "made")
    assert [path.name for path in paths] == ["made.html", "made.md"]
    assert {path.name for path in folder.iterdir()} == {
        "01-coins-test-accuracy.csv", "01-coins-test-accuracy.tex", "02-cost-of-a-trial.csv", "02-cost-of-a-trial.tex",
        "notes.txt",
    }  # fmt: skip
    with (folder / "01-coins-test-accuracy.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [list(TABLE.headings), *map(list, TABLE.rows)]


@pytest.mark.parametrize("title", ["", "???", "a: b", "X" * 200])
def test_any_title_makes_a_file_name(title):
    assert re.fullmatch(r"[a-z0-9-]{0,48}", make_slug(title))


def variant(name, **settings):
    return Variant(name, {}, TrialConfig.model_validate(settings))
