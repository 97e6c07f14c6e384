"""Write and read the result of a task: its metrics, the identity of what they measure, and their cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.checksums import check_file, seal
from evals.estimates import Estimate, estimate_all
from evals.files import write_atomic
from evals.harness.folder import GENERATIONS, RESULT, SAMPLES, TASK, TIMING, read_seconds, read_task
from evals.harness.identity import EvaluationError, Identity
from evals.metrics import Sample


@dataclass(frozen=True)
class Result:
    """The content of ``result.json``.

    Attributes:
        identity: Identity of the completions and of their scoring.
        cost: Seconds and process seconds of both stages, sampled tokens, problems, samples.
    """

    task: str
    identity: Identity
    metrics: Mapping[str, Estimate]
    counts: Mapping[str, int]
    cost: Mapping[str, float]


def write_result(
    folder: Path,
    samples: Iterable[Sample],
    scoring: Mapping[str, Any],
    cost: Mapping[str, float],
    out: Path | None = None,
) -> Result:
    """Compute the metrics and write ``result.json`` (to `out`, with the samples); `scoring` is part of the identity."""
    samples, record = list(samples), read_task(folder)
    seconds, worked = read_seconds(folder)
    result = Result(
        record.identity["task"],
        {**record.identity, **scoring},
        estimate_all(samples),
        dict(sorted(Counter(sample["status"] for sample in samples).items())),
        {
            "generate_seconds": round(seconds, 3),
            "generate_cpu_seconds": round(worked, 3),
            "policy_tokens": sum(sample["tokens"] for sample in samples),
            "problems": len(record.asked),
            "samples": len(samples),
            **{name: round(value, 3) for name, value in cost.items()},
        },
    )
    data = (json.dumps(asdict(result), indent=1) + "\n").encode()
    out = out or folder
    seal(out, (TASK, GENERATIONS, TIMING, SAMPLES), {RESULT: data})
    write_atomic(out / RESULT, data)
    return result


def read_scoring_seconds(result: Result) -> dict[str, float]:
    """Return the seconds and the process seconds of scoring, in the form that `write_result` takes."""
    return {name: result.cost[name] for name in ("score_seconds", "score_cpu_seconds")}


def read_result(folder: Path) -> Result:
    """Read ``result.json``.

    Raises:
        EvaluationError: The file is missing or damaged.
    """
    path = folder / RESULT
    try:
        check_file(path)
        value = json.loads(path.read_text(encoding="utf-8"))
        metrics = {name: Estimate(**estimate) for name, estimate in value["metrics"].items()}
        return Result(**{**value, "metrics": metrics})
    except FileNotFoundError:
        raise EvaluationError(f"{folder} holds no result ({RESULT} is missing); score its completions first") from None
    except (ValueError, TypeError, KeyError) as error:
        raise EvaluationError(f"{path} is no result ({error}); score the completions of {folder} again") from error
