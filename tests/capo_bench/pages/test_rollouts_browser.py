"""The rollouts page in a real browser: it asks for nothing, runs its own script alone, finds and tells."""

from __future__ import annotations

import time

import pytest
from opening import Opened
from playwright.sync_api import expect
from viewing import HOSTILE, SeenHome

from capo_bench.analysis.rollouts import read_credited
from capo_bench.pages.rollouts import write_rollouts
from capo_bench.pages.text import format_signed
from trainers.rollouts import list_stored_steps


def write(home: SeenHome, folder, *variants: str):
    trials = [(trial, home.home.trial(trial.id)) for trial in home.plan().trials if trial.variant in variants]
    return write_rollouts("seen", trials, folder / "rollouts.html")


@pytest.fixture(scope="module")
def pages(seen, attacked, tmp_path_factory):
    return {
        "seen": write(seen, tmp_path_factory.mktemp("seen"), "majority", "prm_sum"),
        "scored": write(seen, tmp_path_factory.mktemp("scored"), "prm_sum"),
        "bad": write(attacked, tmp_path_factory.mktemp("bad"), "majority"),
    }


@pytest.fixture
def opened(browser, pages):
    shown: list[Opened] = []

    def go(name: str, **options) -> Opened:
        shown.append(Opened(browser, pages[name].as_uri(), **options))
        if options.get("java_script_enabled", True):
            shown[-1].page.wait_for_selector("[data-ready]", state="attached")
        return shown[-1]

    yield go
    for one in shown:
        one.close()


def choose(one: Opened, trial, step: int, place: int):
    """Pick a rollout from the list, and return its article."""
    one.page.locator("[name=step]").select_option(str(step))
    one.page.locator("[name=variant]").select_option(trial.variant)
    one.page.locator(".row", has_text=f"step {step}.{place}").first.click()
    article = one.page.locator(f"[data-rollout='{trial.id} {step}.{place}']")
    article.wait_for()
    return article


def test_it_opens_on_one_problem_before_and_after_training(opened, seen):
    page = opened("seen").page
    assert page.locator("#shown h2").inner_text() == "One problem before and after training"
    articles = page.locator("article")
    steps = list(list_stored_steps(seen.home.trial(seen.trial.id).rollouts))
    problems = [text.split(" · ")[0] for text in articles.locator("p.meta").all_inner_texts() if " · trial " in text]
    assert len(set(problems)) == 1 < len(problems)
    told = [each.get_attribute("data-rollout") for each in articles.all()]
    assert [each.split(" ")[0] for each in told] == [seen.trial.id] * 2
    assert [int(each.split(" ")[1].split(".")[0]) for each in told] == [steps[0], steps[-1]]
    assert [each.split(":")[0] for each in articles.locator("h3").all_inner_texts()] == [
        "Before training",
        "After training",
    ]
    boxes = [each.bounding_box() for each in articles.all()]
    assert boxes[0]["y"] == boxes[1]["y"], "side by side"
    assert "wrong by the exact checker" in articles.first.inner_text()


def test_the_numbers_are_those_of_training(opened, seen):
    first = next(read_credited(seen.trial, seen.home.trial(seen.trial.id)))
    one = opened("seen")
    for credited in first.rollouts[:3]:
        article = choose(one, seen.trial, 1, credited.place)
        for number, advantage in enumerate(credited.advantages):
            line = article.locator(".line").nth(number)
            reward = f"{credited.rewards[number]:g}".replace("-", "−")
            wanted = f"votes {credited.votes[number]}/{credited.voters} · reward {reward} · advantage "
            line.focus()
            assert one.told().endswith(wanted + format_signed(advantage, 4))
            line.locator(".text > span").last.hover()
            assert one.told().startswith("token ")
            assert one.told().endswith(wanted + format_signed(advantage, 4))


def test_keys_go_from_step_to_step_and_from_token_to_token(opened, seen):
    one = opened("seen")
    choose(one, seen.trial, 1, 2).locator(".line").first.focus()
    assert one.told().startswith("step 1, 10 tokens · votes 3/4 · reward 1 · ")
    one.press("ArrowRight")
    assert one.focused("textContent") == "3"
    assert one.told().startswith("token 1 “3”, step 1 · votes 3/4 · reward 1 · ")
    assert one.focused("ariaLabel") == one.told()
    one.press(*["ArrowRight"] * 10)
    assert one.told().startswith("token 11 “8”, step 2 · votes 1/4 · reward 2 · "), "on into the next step"
    one.press("ArrowLeft", "Escape")
    assert one.focused("dataset.step") == "1"
    one.press("ArrowDown", "Tab")
    assert one.focused("dataset.step") == "3", "Tab goes the same way"
    one.press("ArrowUp")
    assert one.focused("dataset.step") == "2"


def test_enter_opens_and_closes_the_critiques_and_those_that_flag_the_step_are_marked(opened, seen):
    one = opened("seen")
    article = choose(one, seen.trial, 1, 2)
    article.locator(".line").first.focus()
    one.press("Enter")
    beside = article.locator("details")
    assert beside.evaluate_all("all => all.map(one => one.open)") == [True] * 4
    assert "Wrong steps: [1, 2]" in beside.nth(1).inner_text()
    says = beside.evaluate_all("all => all.map(one => one.classList.contains('says'))")
    assert says == [True, True, False, True]
    one.press("Enter")
    assert beside.evaluate_all("all => all.map(one => one.open)") == [False] * 4


def test_a_score_stands_where_votes_do(opened, seen):
    one = opened("scored")
    article = choose(one, seen.scored, 1, 2)
    article.locator(".line").first.focus()
    assert one.told().startswith("step 1, 10 tokens · score 0.10 · reward 0.1 · advantage ")
    assert "doubted" in article.locator(".line").first.inner_text()
    assert "Not scored: too long." in choose(one, seen.scored, 1, 8).inner_text()


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"variant": "majority"}, 96),
        ({"step": "3"}, 16),
        ({"variant": "majority", "outcome": "1"}, 24),
        ({"variant": "majority", "outcome": "-1"}, 12),
        ({"variant": "majority", "flagged": "1"}, 60),
        ({"variant": "majority", "split": "1"}, 36),
        ({"variant": "majority", "step": "1", "split": "0", "outcome": "0"}, 3),
    ],
)
def test_filters_leave_what_they_name(opened, filters, count):
    page = opened("seen").page
    for name, value in filters.items():
        page.locator(f"[name={name}]").select_option(value)
    expect(page.locator("#count")).to_have_text(f"{count} of 192")
    page.locator("button[type=reset]").click()
    expect(page.locator("#count")).to_have_text("192 of 192")


def test_search_finds_words_of_texts_problems_and_critiques(opened):
    page = opened("seen").page
    for words, count in (("rather not say", 12), ("boxed{7} coins", 48), ("train/0/1", 96), ("no such words", 0)):
        page.locator("[name=words]").fill(words)
        expect(page.locator("#count")).to_have_text(f"{count} of 192")


def test_hostile_text_is_text(opened, attacked):
    one = opened("bad")
    page = one.page
    bad = choose(one, attacked.trial, 1, 1)
    assert page.evaluate("window.stolen") is None
    assert page.locator("main").locator("img, svg, iframe, link, script, style").count() == 0
    assert bad.locator(".line").count() == len(HOSTILE)
    assert [bad.locator(".text").nth(place).inner_text() for place in range(5)] == list(HOSTILE[:5])
    bad.locator(".line").first.focus()
    one.press("ArrowRight", "Enter")
    assert one.told().startswith(f"token 1 “{HOSTILE[0]}”")
    assert page.evaluate("window.stolen") is None
    assert "⟨U+202E⟩left⟨U+202C⟩" in (text := bad.inner_text())
    assert "nul ⟨U+0000⟩ esc ⟨U+001B⟩[31m bell ⟨U+0007⟩ half ⟨U+D800⟩ joined ⟨U+FEFF⟩" in text
    assert "\u202e" not in text
    assert "more characters of this rollout are not shown" in text


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(opened, attacked, width, scheme):
    one = opened("bad", viewport={"width": width, "height": 844}, color_scheme=scheme)
    choose(one, attacked.trial, 1, 1)
    assert one.page.evaluate("document.documentElement.scrollWidth") == width
    boxes = one.page.locator(".line, .critique, article pre").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(boxes) <= width
    assert one.page.locator(".line").nth(6).bounding_box()["height"] < 120, "marks that pile up stay in their line"
    contrasts = one.page.locator(".line").evaluate_all(CONTRAST)
    assert min(contrasts) >= 4.5


CONTRAST = """all => all.map(one => {
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((value, place) => a * value + (1 - a) * below[place]);
  const grey = (rgb) => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const paper = over(rgba(getComputedStyle(document.body).backgroundColor), [255, 255, 255]);
  const shade = over(rgba(getComputedStyle(one).backgroundColor), paper);
  const text = over(rgba(getComputedStyle(one.querySelector(".earned")).color), shade);
  const [dark, light] = [grey(text), grey(shade)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
})"""


def test_without_scripts_the_page_says_what_it_needs(opened):
    assert "switch scripts on" in opened("seen", java_script_enabled=False).page.locator("noscript").inner_text()


def test_ten_thousand_rollouts_are_open_at_once_and_drawn_as_they_come_into_sight(browser, seen, tmp_path):
    home = SeenHome(tmp_path, steps=12)
    trials = [(home.trial, home.home.trial(home.trial.id))] * 105
    path = write_rollouts("many", trials, tmp_path / "many.html")
    began = time.perf_counter()
    one = Opened(browser, path.as_uri())
    one.page.wait_for_selector("[data-ready]", state="attached")
    print(f"{time.perf_counter() - began:.2f} s")  # noqa: T201 - measured, not judged: others use this machine
    assert one.page.locator("#count").inner_text() == "10,080 of 10,080"
    assert one.page.locator(".row").count() < 60
    one.page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight }")
    one.page.locator(".row", has_text="step 12.8").last.wait_for()
    one.close()
