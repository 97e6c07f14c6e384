"""Hard2Verify: every step is marked, mistakes are carried forward there and not here, published rows are closed."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from evals.critics.data import STEP_DATA, Selection
from evals.critics.hard2verify import HARD2VERIFY
from evals.tasks.rows import DataErrors

ROW = {
    "unique_id": "q1-modelA",
    "question": "Prove that 1 = 1.",
    "model_response_by_step": ["a", "b", "c", "d"],
    "human_labels": [1, 0, 0, 1],
    "human_labels_first_error_idx": 1,
    "canary": "some key",
}


def closed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as it is published: four fields XORed with the hash of its key, in base64."""
    pad = hashlib.sha256(row["canary"].encode()).digest()

    def close(value: Any) -> str:
        text = (value if isinstance(value, str) else json.dumps(value)).encode()
        return base64.b64encode(bytes(b ^ pad[i % 32] for i, b in enumerate(text))).decode()

    return {name: value if name in {"unique_id", "canary"} else close(value) for name, value in row.items()}


def loaded(tmp_path, *rows, **selection):
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return HARD2VERIFY.load(Selection(source=tmp_path, **selection)).solutions


@pytest.mark.parametrize("shape", [dict, closed])
def test_labels_of_a_row_open_or_closed(tmp_path, shape):
    (solution,) = loaded(tmp_path, shape(ROW))
    assert solution.steps == ("a", "b", "c", "d")
    assert solution.problem.prompt == solution.labels.group == "Prove that 1 = 1."
    # Whether step 2 is wrong in itself, or rests on step 1, its mark does not say.
    assert (solution.labels.wrong, solution.labels.labelled) == ({1}, {0, 1, 3})


def test_a_proof_without_an_error_has_all_its_labels(tmp_path):
    right = {**ROW, "human_labels": [1] * 4, "human_labels_first_error_idx": -1}
    (solution,) = loaded(tmp_path, right)
    assert (solution.labels.wrong, solution.labels.labelled) == (set(), {0, 1, 2, 3})


def test_all_that_is_wrong_is_told_with_its_line(tmp_path):
    rows = [
        {**ROW, "human_labels": [1, 0]},
        {**ROW, "human_labels_first_error_idx": 2},
        {**ROW, "human_labels": [1, 0, 2, 1]},
        closed(ROW) | {"canary": "another key"},
    ]
    with pytest.raises(DataErrors) as errors:
        loaded(tmp_path, *rows)
    told = "\n".join(errors.value.flaws)
    assert "test.jsonl:1: " in told
    assert "2 labels for 4 steps" in told
    assert "human_labels_first_error_idx is 2 and the first 0 of human_labels is at 1" in told
    assert all(f"test.jsonl:{line}: " in told for line in (2, 3, 4))


def test_it_is_scored_by_the_first_error():
    assert STEP_DATA.get("hard2verify").first_error
