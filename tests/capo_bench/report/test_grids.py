"""The heat map of votes and the critics' precision and recall: what is drawn, and when nothing is."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

from summaries import ACCURACY, BASE, cell, row, summary

from capo_bench.report.figures import frontier
from capo_bench.report.grids import CriticPoint, precision_recall, rule_by_k
from capo_bench.study.plan import Variant
from trainers.config import TrialConfig


def variant(name, vote, k, critic="noisy", **credit):
    config = TrialConfig.model_validate(
        {"credit": {"vote": vote, "critiques": k, **credit}, "critic": {"name": critic}, "method": "capo"}
    )
    return Variant(name, {}, config)


def grid(*names):
    rows = [row(name, {ACCURACY: cell(0.5 + 0.01 * place, 0.05)}) for place, name in enumerate(names)]
    return summary(BASE, *rows)


def test_rules_and_counts_make_a_map_that_says_its_numbers():
    wanted = [variant(f"{vote}{k}", vote, k) for vote in ("union", "majority") for k in (2, 4)]
    figure = rule_by_k(grid(*(one.name for one in wanted)), wanted)
    assert figure is not None
    assert ET.fromstring(figure.svg).tag.endswith("svg")
    assert "union of 2: 50.0 % (95 % interval 47.0 to 53.0" in figure.alt
    assert "majority of 4: 53.0 %" in figure.alt


def test_a_cell_that_the_study_lacks_is_hatched_and_no_other_is():
    wanted = [variant(f"{vote}{k}", vote, k) for vote in ("union", "majority") for k in (2, 4)]
    whole, lacking = (rule_by_k(grid(*(one.name for one in some)), some) for some in (wanted, wanted[:3]))
    assert whole is not None
    assert lacking is not None
    assert b"<pattern" not in whole.svg
    assert b"<pattern" in lacking.svg
    assert "hatched" in lacking.caption


def test_another_critic_and_rules_with_a_number_are_left_out():
    wanted = [variant(f"{vote}{k}", vote, k) for vote in ("union", "majority") for k in (2, 4)]
    others = [variant("exact", "union", 8, critic="exact"), variant("three", "at_least", 4, at_least=3)]
    figure = rule_by_k(grid(*(one.name for one in [*wanted, *others])), [*wanted, *others])
    assert figure is not None
    assert "of 8" not in figure.alt
    assert "at_least" not in figure.alt


def test_one_rule_or_one_count_is_no_map():
    one_rule = [variant(f"union{k}", "union", k) for k in (1, 2, 4)]
    assert rule_by_k(grid(*(one.name for one in one_rule)), one_rule) is None
    one_count = [variant(vote, vote, 4) for vote in ("union", "majority")]
    assert rule_by_k(grid("union", "majority"), one_count) is None
    assert rule_by_k(grid(), []) is None


def point(rule, k, precision, recall=0.5):
    around = (recall, recall - 0.05, recall + 0.05)
    return CriticPoint("tiny", rule, k, (precision, precision - 0.1, precision + 0.1), around)


def test_precision_is_drawn_against_recall_by_rule_and_k():
    figure = precision_recall([point("union", 4, 0.5), point("union", 2, 0.6), point("majority", 4, 0.75)])
    assert figure is not None
    assert "tiny, majority of 4: precision 75.0 %, recall 50.0 %" in figure.alt
    assert ET.fromstring(figure.svg).tag.endswith("svg")
    assert precision_recall([]) is None
    assert precision_recall([point("union", 4, math.nan)]) is None


def test_more_critics_than_can_be_told_apart_are_counted():
    figure = precision_recall([point(f"r{n}", 4, 0.5) for n in range(14)])
    assert figure is not None
    assert figure.caption.endswith("3 more are not drawn.")


def test_what_was_asked_once_is_one_point_and_one_critique_is_where_the_other_lines_begin():
    once = [replace(point(rule, 1, 0.9), critic="exact") for rule in ("greedy", "union", "majority")]
    figure = precision_recall([*once, point("greedy", 1, 0.6), point("union", 4, 0.5), point("union", 1, 0.6)])
    assert figure is not None
    assert figure.alt.count("exact") == 1
    assert "tiny, greedy" not in figure.alt
    assert "tiny, union of 1: precision 60.0 %, recall 50.0 %; tiny, union of 4: precision 50.0 %" in figure.alt


def test_the_frontier_is_what_nothing_beats_for_less():
    points = [(3.0, 0.5), (1.0, 0.2), (2.0, 0.6), (2.0, 0.4), (4.0, 0.6), (5.0, 0.7)]
    assert frontier(points, up=True) == [(1.0, 0.2), (2.0, 0.6), (5.0, 0.7)]
    assert frontier(points, up=False) == [(1.0, 0.2)]
    assert frontier([], up=True) == []
