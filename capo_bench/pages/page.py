"""One page of sections as self-contained HTML and as Markdown: no network, every text of a model or a study escaped.

Every command that writes a page says what is in it, and this module renders it: HTML, Markdown, figures as SVG, tables
as CSV and LaTeX. The same page gives the same bytes.

Figures are plain SVG inside the page, and the script that sorts and filters tables and shows values is ours, 80
lines: a library for interactive figures would put megabytes into every page, draw nothing without scripts, and give
other bytes with each of its versions.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.inert import for_markdown, for_page, for_prose
from capo_bench.pages.svg import Figure
from capo_bench.pages.text import Table, format_csv, render_latex_table, render_markdown_table
from evals.files import write_atomic

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """A part of a page, in this order.

    Attributes:
        folded: Titles of long texts with the texts.
        closed: Whether all of it is folded.
        apart: Whether its tables are no numbers: they are printed nowhere and have no files of their own.
    """

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    folded: Sequence[tuple[str, str]] = ()
    closed: bool = False
    apart: bool = False

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

    def section(self, title: str) -> Section:
        """Return a section by its title."""
        return next(section for section in self.sections if section.title == title)

    @property
    def tables(self) -> list[Table]:
        """All tables of numbers, in the order of the page."""
        return [table for section in self.sections if not section.apart for table in section.tables]

    @property
    def figures(self) -> list[Figure]:
        """All figures; of one name that of a section, which is whole where the first one is not."""
        every = [*([self.figure] if self.figure else []), *(each for part in self.sections for each in part.figures)]
        return list({figure.name: figure for figure in every}.values())


def write_page(page: Page, folder: Path, name: str = "report") -> list[Path]:
    """Write a page into a folder; figures and tables of an earlier one that this one lacks go.

    Returns:
        The paths of HTML, Markdown and figures.
    """
    tables: dict[str, str] = {}
    for number, table in enumerate(page.tables, 1):
        stem = f"{number:02d}-{make_slug(table.title)}"
        tables |= {f"{stem}.csv": format_csv(table.headings, table.rows), f"{stem}.tex": render_latex_table(table)}
    _write_only(tables, folder / "tables")
    drawn = _write_only({f"{figure.name}.svg": figure.svg for figure in page.figures}, folder / "figures")
    paths = [folder / f"{name}.html", folder / f"{name}.md"]
    write_atomic(paths[1], render_markdown(page))
    write_atomic(paths[0], render_html(page))
    return [*paths, *drawn]


def _write_only(contents: Mapping[str, str | bytes], folder: Path) -> list[Path]:
    """Write files into a folder, and delete others with one of their endings."""
    for path in sorted(folder.glob("*")):
        if path.suffix in {".svg", ".png", ".csv", ".tex"} and path.name not in contents:
            path.unlink()
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]


def make_slug(title: str) -> str:
    """Return a file name for a table: the first words of its title."""
    return re.sub(r"[^a-z0-9]+", "-", title.partition(":")[0].partition("(")[0].lower()).strip("-")[:48]


def render_html(page: Page) -> str:
    """Render a page as HTML."""
    return render_self_contained("page", page=page, sections=[section for section in page.sections if section.filled])


def render_markdown(page: Page) -> str:
    """Render a page as Markdown, for a pull request or a terminal."""
    parts = [f"# {for_markdown(page.title)}", for_markdown(page.question), for_markdown(page.about)]
    parts += [f"**{for_prose(page.answer)}**" * bool(page.answer)]
    parts += [render_markdown_table(page.table).rstrip()] if page.table else []
    parts += [part for section in page.sections if section.filled for part in _render_section(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _render_section(section: Section) -> list[str]:
    return [
        f"## {for_markdown(section.title)}",
        "\n".join(f"- {for_prose(line)}" for line in section.lines),
        *(f"### {for_prose(table.title)}\n\n{render_markdown_table(table).rstrip()}" for table in section.tables),
        *(
            f"![{for_markdown(figure.alt)}](figures/{figure.name}.svg)\n\n{for_prose(figure.caption)}"
            for figure in section.figures
        ),
        *(for_prose(note) for note in section.notes),
    ]


def render_self_contained(name: str, **values: Any) -> str:
    """Render ``name.html.j2`` with one style and one script, which are allowed by their hashes; nothing else is."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style, script = _read("base.css") + _read(f"{name}.css"), _read(f"{name}.js")
    own = f"style-src {_hash_allowed(style)}; script-src {_hash_allowed(script)}"
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


def _hash_allowed(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}'"
