"""What the tests of rows share."""

from __future__ import annotations

import json

from evals.tasks.rows import Row
from evals.tasks.source import Raw


def raw(*rows: dict, benchmark: str = "b") -> Raw:
    """Return rows as a source holds them, with places ``here:1`` and so on."""
    return Raw([Row(f"here:{number}", row) for number, row in enumerate(rows, 1)], benchmark, "here")


def on_file(folder, *rows: dict) -> list[dict]:
    """Write rows to ``test.jsonl`` in a new folder and return them as they come back."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "test.jsonl").write_text(text, encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
