"""One page of sections as self-contained HTML and as Markdown: no network, every text of a model or a study escaped.

Figures are plain SVG inside the page, and the script that sorts and filters tables and shows values is ours, 80
lines: a library for interactive figures would put megabytes into every page, draw nothing without scripts, and give
other bytes with each of its versions.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.inert import for_markdown, for_page
from capo_bench.pages.svg import Figure
from capo_bench.pages.text import Table, markdown

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """A part of a page, in this order; `folded` are titles of long texts with the texts, `closed` folds all of it."""

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    folded: Sequence[tuple[str, str]] = ()
    closed: bool = False

    @property
    def filled(self) -> bool:
        """Whether there is anything in it."""
        return any((self.lines, self.tables, self.figures, self.folded))


@dataclass(frozen=True)
class Page:
    """A page: what it is about, the answer with its figure and its table, and the rest below; no empty part."""

    title: str
    question: str = ""
    about: str = ""
    answer: str = ""
    figure: Figure | None = None
    table: Table | None = None
    sections: Sequence[Section] = ()


def html(page: Page) -> str:
    """Render a page as HTML."""
    return self_contained("page", page=page, sections=[section for section in page.sections if section.filled])


def text(page: Page) -> str:
    """Render a page as Markdown, for a pull request or a terminal."""
    parts = [f"# {for_markdown(page.title)}", for_markdown(page.question), for_markdown(page.about)]
    parts += [f"**{for_markdown(page.answer)}**" * bool(page.answer)]
    parts += [markdown(page.table).rstrip()] if page.table else []
    parts += [part for section in page.sections if section.filled for part in _section(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section) -> list[str]:
    return [
        f"## {for_markdown(section.title)}",
        "\n".join(f"- {for_markdown(line)}" for line in section.lines),
        *(f"### {for_markdown(table.title)}\n\n{markdown(table).rstrip()}" for table in section.tables),
        *(
            f"![{for_markdown(figure.alt)}](figures/{figure.name}.svg)\n\n{for_markdown(figure.caption)}"
            for figure in section.figures
        ),
        *(for_markdown(note) for note in section.notes),
    ]


def self_contained(name: str, **values: Any) -> str:
    """Render ``name.html.j2`` with one style and one script, which are allowed by their hashes; nothing else is."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style, script = _read("base.css") + _read(f"{name}.css"), _read(f"{name}.js")
    own = f"style-src {_allowed(style)}; script-src {_allowed(script)}"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.finalize = lambda value: for_page(value) if type(value) is str else value
    environment.filters["drawing"] = Markup  # an SVG of ours, in which every text is escaped
    template = environment.get_template(f"{name}.html.j2")
    return template.render(policy=Markup(policy), style=Markup(style), script=Markup(script), **values)  # noqa: S704


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _allowed(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}'"
