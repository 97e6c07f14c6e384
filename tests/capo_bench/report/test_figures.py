"""Figures: which are drawn, from what, and the same bytes each time."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from fakehome import FakeHome
from summaries import ACCURACY, BASE, cell, row, summary

from capo_bench.report.build import Report, build_report
from capo_bench.report.canvas import styles, wrapped
from capo_bench.report.figures import MOST_VARIANTS, differences, figures, values


def test_figures_each_with_words_for_who_does_not_see_it(report: Report):
    assert [figure.name for figure in report.figures] == [
        "values",
        "differences",
        "learning_curves",
        "spending_curves",
        "wrong_steps",
        "cost",
        "precision_recall",
    ]
    for figure in report.figures:
        assert figure.png.startswith(b"\x89PNG")
        assert ET.fromstring(figure.svg).tag.endswith("svg")
        assert "intersection" in figure.alt
    assert "95 % interval" in report.figures[0].alt


def test_the_same_numbers_give_the_same_bytes(report: Report):
    again = figures(report.summary, report.results, report.critics.points)
    assert [(figure.svg, figure.png) for figure in again] == [(f.svg, f.png) for f in report.figures]


def test_no_clock_and_no_script_in_a_drawing(report: Report):
    for figure in report.figures:
        assert b"<dc:date>" not in figure.svg
        assert b"<script" not in figure.svg


def test_what_cannot_be_drawn_is_left_out(fake: FakeHome):
    fake.finish("cold_start")
    assert [figure.name for figure in build_report(fake.plan(), fake.home).figures] == [
        "values",
        "wrong_steps",
        "cost",
    ]


def test_a_hostile_name_is_drawn_as_text():
    name = "<script>alert(1)</script> $\\frac{1$ & more"
    study = summary(BASE, row(name, {ACCURACY: cell(0.6, 0.05, holm=0.2)}))
    for figure in (values(study), differences(study)):
        assert figure is not None
        assert ET.fromstring(figure.svg).tag.endswith("svg")
        assert b"<script" not in figure.svg


def test_no_differences_without_a_comparison():
    assert differences(summary(BASE)) is None
    assert values(summary(replace(BASE, cells={}))) is None


def test_many_variants_are_told_apart_without_colour():
    names = [f"v{i}" for i in range(11)]
    look = styles(["base", *names], "base", None)
    assert len({(look[name].marker, look[name].line) for name in look}) == len(look)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("majority", ["majority"]),
        (
            "critic=noisy(false_alarm=0.3,miss=0.3),vote=union",
            ["critic=noisy(false_alarm=0.3,", "miss=0.3), vote=union"],
        ),
        ("x" * 100, ["x" * 30, "x" * 30, "x" * 29 + "…"]),
    ],
)
def test_long_names_are_broken_after_commas(name, lines):
    assert wrapped(name).split("\n") == lines


def test_of_many_variants_the_baseline_the_start_and_the_best_are_drawn_and_the_rest_counted():
    others = [
        row(f"v{at:02}", {ACCURACY: cell(0.3 + at / 100, at / 100 - 0.2, holm=0.5)}) for at in range(MOST_VARIANTS + 5)
    ]
    start = row("start", {ACCURACY: cell(0.1)})
    figure = values(summary(BASE, start, *others, start="start"))
    assert figure is not None
    assert figure.caption.endswith(" 7 more variants are not drawn.")
    assert [part.partition(":")[0] for part in figure.alt.split("; ")][:3] == ["grpo_rule", "start", "v07"]
    assert figure.alt.count("; ") == MOST_VARIANTS - 1
    shown = differences(summary(BASE, *others[:MOST_VARIANTS]))
    assert shown is not None
    assert "not drawn" not in shown.caption
