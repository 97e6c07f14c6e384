"""The HTML page: self-contained, readable, and deaf to what a model or a study writes into it."""

import re
from html.parser import HTMLParser

import pytest
from fakehome import STUDY, FakeHome

from capo_bench.pages.page import Page, Section, render_html, render_markdown
from capo_bench.pages.report import Report, build_report
from capo_bench.pages.text import Table

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}"


class Tags(HTMLParser):
    """Collects tags with their attributes, and the text outside of style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unclosed: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "wbr", "link", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def shown(report: Report) -> str:
    return render_html(report.page)


def test_every_tag_is_closed(shown: str):
    tags = Tags(shown)
    assert (tags.open, tags.unclosed) == ([], [])


def test_nothing_is_fetched_and_one_script_is_allowed_by_its_hash(shown: str):
    tags = Tags(shown)
    assert len(tags.all("script")) == len(tags.all("style")) == 1
    assert tags.all("link") == tags.all("iframe") == tags.all("img") == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", shown)
    policy = tags.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_page_can_be_read_aloud(shown: str):
    tags = Tags(shown)
    assert tags.all("html")[0]["lang"] == "en"
    assert len(tags.all("h1")) == 1
    assert all("scope" in heading for heading in tags.all("th"))
    ids = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes["aria-labelledby"] in ids for _, attributes in tags.found if "aria-labelledby" in attributes)
    assert all(link["href"].removeprefix("#") in ids for link in tags.all("a"))


@pytest.mark.parametrize(
    "told",
    [
        "Which vote trains the better policy?",
        "12 of 12 trials finished",
        "intersection beats grpo_rule",
        "change from cold_start",
        "of grpo_rule, and 900,000 critic tokens a trial",
        "capo-bench view fake",
        "git.commit",
        "c56f98b",
        "packages.torch",
        "hardware.cores",
        "vote: intersection",
    ],
)
def test_the_page_holds_the_whole_story(shown: str, told: str):
    assert told in Tags(shown).text


def test_missing_trials_are_named(fake: FakeHome):
    fake.finish(seeds=(0, 1))
    told = Tags(render_html(build_report(fake.plan(), fake.home).page)).text
    assert "Partly finished: 4 of 12 trials are missing." in told
    assert "majority, seed 2" in told


def test_hostile_names_and_questions_stay_text(fake: FakeHome):
    name = "<script>alert(3)</script>"
    study = STUDY.replace("name: majority,", f'name: "{name}",').replace("Which vote", "<b onclick=x>Which</b> vote")
    home = FakeHome(fake.path, study=study)
    home.truths[name] = home.truths["majority"]
    tags = Tags(render_html(build_report(home.finish().plan(), home.home).page))
    assert tags.all("b") == []
    assert len(tags.all("script")) == 1
    assert not any(key.startswith("on") for _, attributes in tags.found for key in attributes)
    assert name in tags.text
    assert (tags.open, tags.unclosed) == ([], [])


def test_every_part_of_a_page_is_inert():
    table = Table(ATTACK, (ATTACK, "n"), ((ATTACK, ATTACK),))
    section = Section(ATTACK, [ATTACK], [table], notes=[ATTACK], folded=[(ATTACK, ATTACK)])
    page = Page(ATTACK, ATTACK, ATTACK, f"\x1b[31m{ATTACK}\u202e", table=table, sections=[section])
    tags = Tags(render_html(page))
    assert len(tags.all("script")) == 1
    assert tags.all("img") == []
    assert "⟨U+001B⟩[31m" in tags.text
    assert "\u202e" not in render_html(page)
    assert "<script" not in render_markdown(page).replace("\\<", "")


def test_a_section_without_anything_is_left_out():
    page = Page("t", sections=[Section("empty", notes=["how to read nothing"]), Section("full", ["a line"])])
    assert "empty" not in render_html(page)
    assert "empty" not in render_markdown(page)
    assert "## full\n\n- a line" in render_markdown(page)
