"""The report as one self-contained HTML page: no script, no network, every text of a model or a study escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from capo_bench.report.provenance import ALWAYS_DIFFERENT
from capo_bench.report.tables import OVERALL_NOTE, POWER_NOTE

if TYPE_CHECKING:
    from capo_bench.report.build import Report
    from capo_bench.report.canvas import Figure


_TEMPLATES = Path(__file__).parent / "templates"


def page(report: Report, *, credit: bool = False) -> str:
    """Render the page.

    Args:
        report: What it shows.
        credit: Whether ``credit.html`` lies beside it.
    """
    return render(
        "report.html.j2",
        report=report,
        summary=report.summary,
        answer=report.answer,
        provenance=report.provenance,
        picture=picture,
        power_note=POWER_NOTE,
        overall_note=OVERALL_NOTE,
        configs=_configs(report),
        expected=ALWAYS_DIFFERENT,
        credit=credit,
    )


def render(template: str, **values: Any) -> str:
    """Render one of our pages; all that is not marked safe in the template is escaped, and what is lacking an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return str(environment.get_template(template).render(**values))


def self_contained(name: str, **values: Any) -> str:
    """Render a page that has a script: its one style and its one script are allowed by their hashes, nothing else is.

    Args:
        name: Of the templates ``name.html.j2``, ``name.css`` and ``name.js``.
        values: What the template shows.
    """
    from markupsafe import Markup

    style, script = ((_TEMPLATES / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    own = f"style-src {_allowed(style)}; script-src {_allowed(script)}"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    return render(f"{name}.html.j2", policy=policy, style=Markup(style), script=Markup(script), **values)  # noqa: S704


def template_hash(name: str) -> str:
    """Return a fingerprint of a page's templates, for digests of what was rendered."""
    files = [_TEMPLATES / f"{name}.{kind}" for kind in ("html.j2", "css", "js")]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _allowed(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}'"


def picture(figure: Figure) -> str:
    """Return the drawing as a data address: as an image its ids and styles cannot meet those of the page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.svg).decode('ascii')}"


def _configs(report: Report) -> dict[str, str]:
    # libyaml's writer where there is one: it is ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return {
        variant.name: yaml.dump(
            variant.config.model_dump(mode="json"), None, dumper, sort_keys=False, allow_unicode=True
        )
        for variant in report.results.plan.variants
    }
