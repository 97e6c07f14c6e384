"""The style of figures."""

import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest

from capo_bench.report.canvas import RC, draw, draw_panels, styles


def test_the_baseline_is_black_and_the_start_grey():
    look = styles(["a", "base", "start", "b"], "base", "start")
    assert look["base"].color == "black"
    assert look["start"].color == "0.5"
    assert len({style.marker for style in look.values()}) == 4


def test_a_variant_keeps_its_style_in_every_figure_of_a_report():
    assert styles(["base", "a", "b"], "base", None) == styles(["base", "a", "b"], "base", None)


def test_drawing_leaves_the_callers_settings_alone():
    before = dict(mpl.rcParams)
    draw("name", "caption", "alt", (2, 2), lambda ax: ax.plot([0, 1]))
    assert dict(mpl.rcParams) == before
    assert before["svg.hashsalt"] != RC["svg.hashsalt"]


@pytest.mark.parametrize("size", [(2, 2), (7.6, 4)])
def test_both_drawings_have_the_size_that_was_asked_for(size):
    figure = draw("name", "caption", "alt", size, lambda ax: ax.plot([0, 1]))
    width, height = ET.fromstring(figure.svg).attrib["viewBox"].split()[2:]
    assert (float(width) / 72, float(height) / 72) == pytest.approx(size)
    pixels = [int.from_bytes(figure.png[at : at + 4], "big") for at in (16, 20)]
    assert pixels == pytest.approx([150 * side for side in size], abs=1)
    assert (figure.name, figure.caption, figure.alt) == ("name", "caption", "alt")


def test_panels_come_row_by_row_and_share_their_vertical_axis():
    def paint(panels):
        assert len(panels) == 6
        first, last = panels[0], panels[-1]
        first.plot([0, 1], [0, 5])
        assert last.get_ylim() == first.get_ylim()
        assert [ax.get_subplotspec().rowspan.start for ax in panels] == [0, 0, 1, 1, 2, 2]

    assert draw_panels("name", "caption", "alt", (4, 6), (3, 2), paint).png.startswith(b"\x89PNG")
