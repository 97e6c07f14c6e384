"""The HTML page: self-contained, readable, and deaf to what a model or a study writes into it."""

import re
from html.parser import HTMLParser

import pytest
from fakehome import STUDY, FakeHome

from capo_bench.report.build import Report, build_report
from capo_bench.report.page import page

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7*7 }}"


class Tags(HTMLParser):
    """Collects tags with their attributes, and the text outside of style."""

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

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.unclosed.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return page(report)


def test_every_tag_is_closed(html: str):
    tags = Tags(html)
    assert (tags.open, tags.unclosed) == ([], [])


def test_nothing_is_fetched_and_nothing_is_run(html: str):
    tags = Tags(html)
    assert tags.all("script") == tags.all("link") == tags.all("iframe") == []
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in tags.all("img"))
    assert not re.search(r"url\(|@import|https?://", re.sub(r'src="data:[^"]*"', "", html))
    assert "default-src 'none'" in tags.all("meta")[2]["content"]


def test_the_page_reads_without_its_pictures(html: str):
    tags = Tags(html)
    assert tags.all("html")[0]["lang"] == "en"
    assert len(tags.all("h1")) == 1
    assert all(image["alt"] for image in tags.all("img"))
    assert all("scope" in heading for heading in tags.all("th"))
    ids = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes["aria-labelledby"] in ids for _, attributes in tags.found if "aria-labelledby" in attributes)


@pytest.mark.parametrize(
    "told",
    [
        "Which vote trains the better policy?",
        "12 of 12 trials finished",
        "intersection beats grpo_rule",
        "Gain over the start",
        "of grpo_rule, and 900,000 critic tokens a trial",
        "wrong step",
        "coins. ",
        "How many?",
        "follows an earlier slip",
        "git.commit",
        "c56f98b",
        "packages.torch",
        "hardware.cores",
        "vote: intersection",
    ],
)
def test_the_page_holds_the_whole_story(html: str, told: str):
    assert told in Tags(html).text


def test_missing_trials_are_named(fake: FakeHome):
    fake.finish(seeds=(0, 1))
    html = page(build_report(fake.plan(), fake.home))
    assert "4 of 12 planned trials have not finished" in Tags(html).text
    assert "majority, seed 2" in Tags(html).text


def test_hostile_text_stays_text(fake: FakeHome):
    class Hostile(FakeHome):
        def sample(self, problem, truth, rng):
            record = super().sample(problem, truth, rng)
            lines = [ATTACK] * record["steps"]
            return {**record, "completion": "\n\n".join(lines), "status": ATTACK}

    name = "<script>alert(3)</script>"
    study = STUDY.replace("name: majority,", f'name: "{name}",').replace("Which vote", "<b onclick=x>Which</b> vote")
    home = Hostile(fake.path, study=study)
    home.truths[name] = home.truths["majority"]
    built = build_report(home.finish().plan(), home.home)
    tags = Tags(page(built))
    assert tags.all("script") == tags.all("b") == []
    assert not any(key.startswith("on") for _, attributes in tags.found for key in attributes)
    assert ATTACK in tags.text
    assert name in tags.text
    assert (tags.open, tags.unclosed) == ([], [])
