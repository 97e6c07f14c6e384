"""The report as one self-contained HTML page: no script, no network, every text of a model or a study escaped."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from capo_bench.report.provenance import ALWAYS_DIFFERENT
from capo_bench.report.tables import POWER_NOTE

if TYPE_CHECKING:
    from capo_bench.report.build import Report
    from capo_bench.report.canvas import Figure


def page(report: Report) -> str:
    """Render the page."""
    return render(
        "report.html.j2",
        report=report,
        summary=report.summary,
        answer=report.answer,
        provenance=report.provenance,
        picture=picture,
        power_note=POWER_NOTE,
        configs=_configs(report),
        expected=ALWAYS_DIFFERENT,
    )


def render(template: str, **values: Any) -> str:
    """Render one of our pages; all that is not marked safe in the template is escaped, and what is lacking an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return str(environment.get_template(template).render(**values))


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
