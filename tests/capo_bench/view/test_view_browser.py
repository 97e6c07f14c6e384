"""The page in a real browser: it asks for nothing, runs its own script alone, and tells numbers to keys and pointer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from viewing import HOSTILE, SeenHome

from capo_bench.report.collect import collect
from capo_bench.view.credited import credited
from capo_bench.view.text import signed
from capo_bench.view.view import DEFAULT, choose, chosen_trial, write_view
from trainers.rollouts import read_rollouts

FOCUSED = "document.activeElement"


@dataclass
class Opened:
    """A page, with all that it asked for and complained of."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def told(self) -> str:
        return self.page.locator("#tip").text_content()

    def press(self, *keys: str) -> Opened:
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def focused(self, what: str):
        return self.page.evaluate(f"{FOCUSED}.{what}")


def written(home: SeenHome, folder):
    return write_view(choose(collect(home.plan(), home.home)), DEFAULT, folder / "credit.html")


def of_scores(home: SeenHome, folder):
    return write_view(chosen_trial(home.home.trial(home.scored.id)), DEFAULT, folder / "scored.html")


@pytest.fixture(scope="module")
def pages(seen, attacked, tmp_path_factory):
    found = {name: written(home, tmp_path_factory.mktemp(name)) for name, home in (("seen", seen), ("bad", attacked))}
    return {**found, "scored": of_scores(seen, tmp_path_factory.mktemp("scored"))}


@pytest.fixture
def opened(browser, pages) -> Iterator:
    """Return a function that opens a page, and check at the end that it asked for nothing and complained of nothing."""
    found: list[Opened] = []

    def go(name: str, scripts: bool = True, **media) -> Opened:
        one = Opened(browser.new_page(java_script_enabled=scripts))
        found.append(one)
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.on("console", lambda message: one.complaints.append(message.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        if media:
            one.page.emulate_media(**media)
        one.page.goto(pages[name].as_uri())
        return one

    yield go
    for one in found:
        assert [url for url in one.requests if not url.startswith("file://")] == []
        assert len(one.requests) == 1, "the page itself and nothing more"
        assert one.complaints == []
        one.page.close()


def line(one: Opened, step: int, place: int, number: int):
    """Return a step of a rollout."""
    article = one.page.locator(f"article[aria-labelledby=o{step}r{place}]")
    return article.locator(f".line[data-step='{number}']")


def test_pointer_and_focus_tell_the_replays_numbers_of_every_step(opened, seen):
    one = opened("seen")
    (first, *_) = read_rollouts(seen.home.trial(seen.trial.id).rollouts)
    by_place = {each.place: each for each in credited(first, seen.trial.config)}
    articles = one.page.locator("article[aria-labelledby^=o1r]")
    shown = articles.evaluate_all("all => all.map(one => one.getAttribute('aria-labelledby'))")
    assert len(shown) >= 5
    for place in (int(name.removeprefix("o1r")) for name in shown):
        for number, advantage in enumerate(by_place[place].advantages, 1):
            found = line(one, 1, place, number)
            reward = f"{by_place[place].rewards[number - 1]:g}".replace("-", "−")
            wanted = f"votes {by_place[place].votes[number - 1]}/{by_place[place].voters} · reward {reward} · "
            wanted += f"advantage {signed(advantage, 4)}"
            found.focus()
            assert one.told().endswith(wanted) or not by_place[place].voters
            found.locator(".text > span").last.hover()
            assert one.told().endswith(f"reward {reward} · advantage {signed(advantage, 4)}")
            assert one.told().startswith("token ")


def test_keys_go_from_step_to_step_and_from_token_to_token(opened):
    one = opened("seen")
    line(one, 1, 2, 1).focus()
    assert one.told().startswith("step 1, 10 tokens · votes 3/4 · reward 1 · ")

    one.press("ArrowRight")
    assert one.focused("textContent") == "3"
    assert one.told().startswith("token 1 “3”, step 1 · votes 3/4 · reward 1 · ")
    assert one.focused("ariaLabel") == one.told()
    one.press(*["ArrowRight"] * 10)
    assert one.told().startswith("token 11 “8”, step 2 · votes 1/4 · reward 2 · "), "on into the next step"
    one.press("ArrowLeft", "Escape")
    assert one.focused("dataset.step") == "1"

    one.press("ArrowDown")
    assert one.focused("dataset.step") == "2"
    one.press("Tab")
    assert one.focused("dataset.step") == "3", "Tab goes the same way"
    one.press("ArrowUp")
    assert one.focused("dataset.step") == "2"


def test_a_score_stands_where_votes_do_and_is_marked_beside_the_text(opened):
    one = opened("scored")
    line(one, 1, 2, 1).focus()
    assert one.told().startswith("step 1, 10 tokens · score 0.10 · reward 0.1 · advantage ")
    one.press("ArrowRight")
    assert one.told().startswith("token 1 “3”, step 1 · score 0.10 · reward 0.1 · advantage ")
    beside = one.page.locator("article[aria-labelledby=o1r2] li.critique")
    says = beside.evaluate_all("all => all.map(one => one.classList.contains('says'))")
    assert says == [True, False, False, False]
    assert beside.all_inner_texts()[:2] == ["step 1: 0.10 · doubted · wrong by the exact checker", "step 2: 0.50"]


def test_enter_opens_and_closes_the_critiques_beside_the_step(opened):
    one = opened("seen")
    line(one, 1, 2, 1).focus()
    beside = one.page.locator("article[aria-labelledby=o1r2] details")
    one.press("Enter")
    assert beside.evaluate_all("all => all.map(one => one.open)") == [True] * 4
    assert "Wrong steps: [1, 2]" in beside.nth(1).inner_text()
    one.press("Enter")
    assert beside.evaluate_all("all => all.map(one => one.open)") == [False] * 4
    says = beside.evaluate_all("all => all.map(one => one.classList.contains('says'))")
    assert says == [True, True, False, True], "those that flag the step are marked"


def test_where_the_focus_is_can_be_seen(opened):
    one = opened("seen").press("Tab", "Tab")
    assert one.focused("className").startswith("line")
    outline = f"getComputedStyle({FOCUSED}).outlineStyle + getComputedStyle({FOCUSED}).outlineWidth"
    assert one.page.evaluate(outline) == "solid3px"
    one.press("ArrowRight")
    assert one.page.evaluate(outline) == "solid3px"


def test_a_reader_of_the_screen_hears_votes_reward_and_advantage(opened):
    spoken = line(opened("seen"), 1, 2, 1).evaluate(
        "one => document.getElementById(one.getAttribute('aria-labelledby')).textContent"
    )
    assert re.fullmatch(
        "step 1, flagged by 3 of 4 critiques, reward 1, advantage −0.06, wrong by the exact checker", spoken
    )


def test_hostile_text_is_text(opened):
    one = opened("bad")
    page = one.page
    assert page.evaluate("window.stolen") is None
    assert page.locator("img, svg, iframe, link").count() == 0
    assert page.locator("script").count() == page.locator("style").count() == 1
    bad = page.locator("article[aria-labelledby=o1r1]")
    assert bad.locator(".line").count() == len(HOSTILE)
    assert [bad.locator(".text").nth(place).inner_text() for place in range(5)] == list(HOSTILE[:5])
    for found in bad.locator(".line").all()[:3]:
        found.hover()
    line(one, 1, 1, 1).focus()
    one.press("ArrowRight", "Enter")
    assert one.told().startswith(f"token 1 “{HOSTILE[0]}”")
    assert page.evaluate("window.stolen") is None
    assert "⟨U+202E⟩left⟨U+202C⟩" in (text := bad.inner_text())
    assert "nul ⟨U+0000⟩ esc ⟨U+001B⟩[31m bell ⟨U+0007⟩ half ⟨U+D800⟩ joined ⟨U+FEFF⟩" in text
    assert "\u202e" not in text
    assert "more characters of this rollout are not shown" in text
    assert len(page.content()) < 250_000


@pytest.mark.parametrize("width", [1200, 360])
def test_nothing_is_wider_than_the_window(opened, width):
    one = opened("bad")
    one.page.set_viewport_size({"width": width, "height": 800})
    assert one.page.evaluate("document.documentElement.scrollWidth") == width
    boxes = one.page.locator(".line, .critique, pre").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(boxes) <= width
    heights = one.page.locator("article[aria-labelledby=o1r1] .line").evaluate_all(
        "all => all.map(one => one.offsetHeight)"
    )
    assert heights[6] < 120, "marks that pile up stay in their line"


CONTRAST = """all => all.map(one => {
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((value, place) => a * value + (1 - a) * below[place]);
  const grey = (rgb) => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const paper = over(rgba(getComputedStyle(document.body).backgroundColor), [255, 255, 255]);
  const shade = over(rgba(getComputedStyle(one).backgroundColor), paper);
  const text = over(rgba(getComputedStyle(one.querySelector(".earned")).color), shade);
  const [dark, light] = [grey(text), grey(shade)].sort((a, b) => a - b);
  return [one.className, (light + 0.05) / (dark + 0.05), grey(shade)];
})"""


@pytest.mark.parametrize(
    "media", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"media": "print", "color_scheme": "light"}]
)
def test_every_shade_is_told_apart_in_grey_and_its_text_can_be_read(opened, media):
    lines = opened("seen", **media).page.locator(".line").evaluate_all(CONTRAST)
    assert min(contrast for _, contrast, _ in lines) >= 4.5
    greys = {int(re.search(r"\bv(\d+)", name)[1]): grey for name, _, grey in lines}
    assert {0, 10} < {*greys}
    ordered = [greys[level] for level in sorted(greys)]
    assert ordered == sorted(ordered, reverse=media["color_scheme"] == "light")
    assert abs(ordered[0] - ordered[-1]) > 0.05


def test_without_colours_number_bar_and_line_tell_the_charged_steps(opened):
    one = opened("seen", forced_colors="active")
    charged = line(one, 1, 2, 1)
    assert charged.locator(".gutter").inner_text().split() == ["1", "3/4"]
    assert charged.locator(".gutter").evaluate("one => getComputedStyle(one).borderLeftStyle") == "double"
    assert "charged" in charged.inner_text()


def test_without_scripts_the_page_says_the_same(opened):
    one = opened("seen", scripts=False)
    found = line(one, 1, 2, 1)
    assert "reward 1 · advantage −0.06" in found.inner_text()
    assert found.get_attribute("title").startswith("step 1, flagged by 3 of 4 critiques, reward 1, advantage −0.06")
    assert one.page.locator("#tip").is_hidden()
