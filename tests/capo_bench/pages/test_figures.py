"""Figures: which are drawn, from what, in two widths, and the same bytes each time."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from fakehome import FakeHome
from summaries import ACCURACY, BASE, cell, row, summary

from capo_bench.analysis.curves import AXES, Curve
from capo_bench.pages import svg
from capo_bench.pages.figures import (
    MOST_CURVES,
    MOST_ROWS,
    draw_differences,
    draw_figures,
    draw_learning_curves,
    draw_precision_recall,
    pick_variants,
)
from capo_bench.pages.report import Report, build_report
from capo_bench.pages.svg import Axis, Panel, Point, Series

NAMES = (*("differences", "sharpening", "learning_curves", "wrong_steps", "cost", "precision_recall"),)
SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawing).iter(f"{SVG}text")]


def notes(drawing: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawing).iter(f"{SVG}title")]


def test_figures_each_with_words_for_who_does_not_see_it(report: Report):
    assert {figure.name for figure in report.page.figures} == set(NAMES)
    for figure in report.page.figures:
        assert "intersection" in figure.alt
        assert (width(figure.wide), width(figure.narrow)) == (680, 350)
    assert "95 % interval" in report.page.figures[0].alt


def width(drawing: str) -> int:
    return int(ET.fromstring(drawing).attrib["width"])


def test_the_same_numbers_give_the_same_bytes(report: Report):
    drawn = sorted(report.page.figures, key=lambda figure: NAMES.index(figure.name))
    assert draw_figures(report.summary, report.results, report.critics.votes) == drawn


def test_a_file_has_its_own_ink_and_paper_and_no_script(report: Report):
    for figure in report.page.figures:
        assert b"background:#fff;color:#1a1a1a" in figure.svg
        assert b"<script" not in figure.svg
        assert ET.fromstring(figure.svg).tag == f"{SVG}svg"


def test_what_cannot_be_drawn_is_left_out(fake: FakeHome):
    fake.finish("cold_start")
    drawn = [figure.name for figure in build_report(fake.plan(), fake.home).page.figures]
    assert drawn == ["wrong_steps", "sharpening", "cost"]


def test_every_mark_tells_its_values():
    study = summary(BASE, row("capo", {ACCURACY: cell(0.673, 0.123, holm=0.0004)}))
    told = "+12.3 points (95 % interval +9.3 to +15.3, Holm p < 0.001, n = 3 seeds × 256 problems)"
    assert notes(draw_differences(study).wide) == notes(draw_differences(study).narrow) == [told]


def test_a_hostile_name_is_drawn_as_text():
    name = "<script>alert(1)</script> & \x1b\x00\u202e more"
    study = summary(BASE, row(name, {ACCURACY: cell(0.6, 0.05, holm=0.2)}))
    figure = draw_differences(study)
    for drawing in (figure.wide, figure.narrow, figure.svg.decode()):
        shown = "".join(texts(drawing)).replace(" ", "")
        assert "<script>alert(1)</script>&⟨U+001B⟩⟨U+0000⟩⟨U+202E⟩more" in shown
        assert "<script" not in drawing


def test_no_differences_without_a_comparison():
    assert draw_differences(summary(BASE)) is None


def test_a_long_name_is_broken_and_nothing_of_it_is_left_out():
    name = "critic=noisy(false_alarm=0.3,miss=0.3),vote=union,normalization=per_response,weights=2"
    figure = draw_differences(summary(BASE, row(name, {ACCURACY: cell(0.6, 0.05, holm=0.2)})))
    for drawing in (figure.wide, figure.narrow):
        assert name in "".join(texts(drawing)).replace(" ", "")


@pytest.mark.parametrize("width", [680, 360])
@pytest.mark.parametrize("words", [2, 6, 12, 20])
def test_a_long_label_of_a_scale_is_drawn_whole(width, words):
    label = " ".join(["difference,"] * words)
    root = ET.fromstring(svg.build_rows([("one", [Point(0.0, across=(-1, 1))])], Axis(label))(width))
    texts = [text for text in root.iter() if text.text and text.text.startswith("difference")]
    assert " ".join(text.text for text in texts) == label
    assert max(float(text.get("y")) for text in texts) < float(root.get("height"))


@pytest.mark.parametrize(("value", "ticks"), [(100.0, ("50", "100")), (0.0, ("0", "0.5"))])
def test_a_share_that_is_equal_everywhere_stays_within_its_axis(value, ticks):
    series = Series("critic", [Point(value, value)], svg.choose_looks(["critic"])["critic"])
    shown = texts(svg.draw_panels([Panel([series], Axis("recall", 0, 100), Axis("precision", 0, 100))])(680))
    assert set(ticks) <= set(shown)
    assert "150" not in shown


def test_many_variants_are_told_apart_without_colour():
    look = svg.choose_looks(["base", *(f"v{i}" for i in range(10))], "base")
    assert len({(one.shape, one.dash) for one in look.values()}) == len(look)


def test_of_many_variants_the_best_are_drawn_and_the_rest_named():
    others = [
        row(f"v{at:02}", {ACCURACY: cell(0.3 + at / 100, at / 100 - 0.2, holm=0.5)}) for at in range(MOST_ROWS + 5)
    ]
    figure = draw_differences(summary(BASE, *others))
    assert figure.caption.endswith(" Not drawn (5): v00, v01, v02, v03, v04.")
    assert figure.alt.startswith("v05: ")
    assert "Not drawn" not in draw_differences(summary(BASE, *others[:MOST_ROWS])).caption


def test_the_baseline_and_the_start_are_among_the_few_that_are_picked():
    others = [row(f"v{at}", {ACCURACY: cell(0.3 + at / 100)}) for at in range(5)]
    study = summary(BASE, row("start", {ACCURACY: cell(0.1)}), *others, start="start")
    names = [each.variant for each in study.rows]
    assert pick_variants(study, names, 3) == ["grpo_rule", "start", "v4"]


def test_a_variant_that_is_worse_beyond_noise_is_among_the_few_that_are_picked():
    others = [row(f"v{at}", {ACCURACY: cell(0.3 + at / 100, at / 100 - 0.2, holm=0.5)}) for at in range(5)]
    worse = row("worse", {ACCURACY: cell(0.1, -0.45, holm=0.001)})
    study = summary(BASE, worse, *others)
    names = [each.variant for each in study.rows]
    picked = pick_variants(study, names, 3)
    assert picked == ["grpo_rule", "worse", "v4"]
    figure = draw_differences(study, picked)
    assert figure.alt.startswith("worse: ")
    assert figure.caption.endswith(" Not drawn (4): v0, v1, v2, v3.")


def grown(seeds: int, each: float, *axes: str) -> Curve:
    """Return a curve of four steps that each spend `each` on every axis."""
    outcome = np.tile([0.2, 0.3, 0.4, 0.5], (seeds, 1))
    return Curve(outcome, {axis: each * np.tile([1.0, 2.0, 3.0, 4.0], (seeds, 1)) for axis in axes})


STUDY = summary(BASE, row("capo", {ACCURACY: cell(0.6, 0.05, holm=0.2)}))


def test_each_learning_curve_is_averaged_over_a_tenth_of_its_own_steps():
    """A variant whose budget ends it after 10 steps is drawn at all 10, beside one of 40."""
    curves = {"grpo_rule": Curve(np.arange(40.0)[None] / 40, {}), "capo": Curve(np.arange(10.0)[None] / 10, {})}
    figure = draw_learning_curves(STUDY, curves)
    told = notes(figure.wide)
    assert next(line for line in told if line.startswith("capo")) == "capo: 0.000 at 1 steps"
    assert next(line for line in told if line.startswith("grpo_rule")) == "grpo_rule: 0.038 at 4 steps"
    assert sum(line.startswith("capo") for line in told) == 10
    assert "capo: ends at 0.90" in figure.alt


def test_a_panel_for_each_axis_that_all_runs_have():
    rule = grown(3, 1.0, "steps", "seconds", "train_flops")
    figure = draw_learning_curves(STUDY, {"grpo_rule": rule, "capo": grown(2, 10.0, "steps", "seconds")})
    assert AXES["seconds"] in texts(figure.wide)
    assert AXES["train_flops"] not in texts(figure.wide)
    assert "(n = 2 to 3)" in figure.caption
    assert "capo: ends at 0.50 after 40 seconds" in figure.alt


def test_steps_alone_are_one_panel():
    figure = draw_learning_curves(STUDY, {"grpo_rule": grown(1, 1.0, "steps")})
    assert AXES["seconds"] not in texts(figure.wide)
    assert "spent" not in figure.caption
    assert draw_learning_curves(STUDY, {}) is None


def test_curves_that_are_too_many_are_named():
    names = [f"v{at}" for at in range(MOST_CURVES + 1)]
    study = summary(BASE, *(row(name, {ACCURACY: cell(0.6, 0.05, holm=0.2)}) for name in names))
    figure = draw_learning_curves(study, {name: grown(1, 1.0, "steps", "seconds") for name in ["grpo_rule", *names]})
    assert figure.caption.endswith(" Not drawn (2): v7, v8.")


def votes(k: int, precision: float | None = 0.5) -> dict[str, object]:
    quality = {"precision": precision, "recall": 0.5}
    ends = {f"{name}{end}": 0.5 for name in quality for end in ("_low", "_high")}
    return {"critic": "noisy", "rule": "union", "k": k, **quality, **ends}


def test_precision_and_recall_are_a_line_a_rule_from_few_critiques_to_many():
    figure = draw_precision_recall([*(votes(k) for k in (4, 1, 2)), votes(8, precision=None)])
    assert [part.split(" of ")[1][0] for part in figure.alt.split("; ")] == ["1", "2", "4"]
    assert draw_precision_recall([]) is None


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (-3.0, 4.0), (1e9, 5e9), (0.001, 0.002), (7.0, 7.0)])
def test_ticks_hold_all_values(low, high):
    points = [Point(low, low), Point(high, high)]
    drawing = svg.draw_panels([Panel([Series("s", points)], Axis("x"), Axis("y"))])(680)
    ET.fromstring(drawing)
    assert "nan" not in drawing
