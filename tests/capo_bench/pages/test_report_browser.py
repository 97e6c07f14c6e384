"""The report in a real browser: what is above the fold, what sorts and filters, what a mark tells."""

from __future__ import annotations

import pytest
from opening import Opened

from capo_bench.pages.page import render_html
from capo_bench.pages.report import Report


@pytest.fixture(scope="module")
def address(report: Report, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(report.page), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser, address):
    pages: list[Opened] = []

    def go(width: int = 1280, height: int = 800, scheme: str = "light") -> Opened:
        pages.append(Opened(browser, address, viewport={"width": width, "height": height}, color_scheme=scheme))
        return pages[-1]

    yield go
    for one in pages:
        one.close()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sentence_figure_and_table_are_above_the_fold(opened, width, height, scheme):
    page = opened(width, height, scheme).page
    drawing = ".first .desk" if width > 800 else ".first .phone"
    for part in (".answer", f"{drawing} svg", ".first table"):
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= height, part
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, part
    assert page.locator(".first thead th").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth") == width
    letters = page.locator(f"{drawing} text").first.evaluate(
        "one => parseFloat(getComputedStyle(one).fontSize) * one.ownerSVGElement.getBoundingClientRect().width"
        " / one.ownerSVGElement.viewBox.baseVal.width"
    )
    assert letters >= 10, "pixels"


def test_a_phone_shows_what_the_first_figure_leaves_out_below_the_table(opened):
    page = opened(390, 844).page
    caption = page.locator(".first figcaption")
    assert caption.is_visible()
    table = page.locator(".first table").bounding_box()
    assert caption.bounding_box()["y"] >= table["y"] + table["height"]


def test_no_column_of_the_first_table_is_cut_on_a_phone(opened):
    page = opened(390, 844).page
    wide = {
        "variant": ["accuracy (%)", "difference [95 %]", "Holm p", "cost (FLOPs)"],
        "vote=<wbr>intersection": ["73.1 ± 7.2", '+11.8 <span class="ends">[+4.6, +18.9]</span>', "0.036", "2.39×"],
        "vote=<wbr>union": ["64.9 ± 35.0", '+3.5 <span class="ends">[−34.2, +41.2]</span>', "0.786", "2.38×"],
        "grpo_rule (baseline)": ["61.3 ± 9.8", "–", "–", "1.00×"],
    }
    head, *body = [
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in wide.items()
    ]
    rows = f"<thead>{head.replace('td>', 'th>')}</thead><tbody>{''.join(body)}</tbody>"
    page.locator(".first table").evaluate("(table, rows) => { table.innerHTML = rows; }", rows)
    table, window = (page.locator(part).bounding_box() for part in (".first table", ".first .wide"))
    assert table["width"] <= window["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_is_told_from_paper(opened, scheme):
    page = opened(scheme=scheme).page
    ink, paper = (
        sum(
            int(part)
            for part in page.locator(where).first.evaluate(f"one => getComputedStyle(one).{what}")[4:-1].split(",")
        )
        for where, what in ((".first .desk text", "fill"), ("body", "backgroundColor"))
    )
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 500


def test_a_column_sorts_by_its_numbers_and_back(opened):
    page = opened().page
    means = page.locator(".first tbody tr td:nth-child(2)")
    button = page.locator(".first thead button").nth(1)
    shown = [float(text.split()[0]) for text in means.all_inner_texts()]
    button.click()
    assert [float(text.split()[0]) for text in means.all_inner_texts()] == sorted(shown)
    assert page.locator(".first thead th").nth(1).get_attribute("aria-sort") == "ascending"
    button.click()
    assert [float(text.split()[0]) for text in means.all_inner_texts()] == sorted(shown, reverse=True)


def test_a_long_table_is_filtered_by_words(opened):
    page = opened().page
    page.locator("summary", has_text="Show").click()
    field = page.locator("input.filter:visible").first
    table = field.locator("xpath=following-sibling::div[1]").locator("tbody tr")
    every = table.count()
    field.fill("packages tor")
    left = [row for row in table.all() if row.is_visible()]
    assert every > 8
    assert [row.locator("th").inner_text() for row in left] == ["packages.torch"]


def test_pointer_and_keyboard_tell_the_values_of_a_mark(opened):
    one = opened()
    mark = one.page.locator(".first .desk .mark").first
    told = mark.get_attribute("aria-label")
    assert "95 % interval" in told
    mark.hover()
    assert one.told() == told
    one.page.mouse.move(1, 1)
    assert one.page.locator("#tip").is_hidden()
    mark.focus()
    assert one.told() == told


def test_the_contents_lead_to_the_sections(opened):
    page = opened().page
    assert page.locator("nav a").count() >= 8
    page.locator("nav a", has_text="Power").click()
    assert page.locator("h2", has_text="Power").bounding_box()["y"] < 700
