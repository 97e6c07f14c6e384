"""Track an evaluation as an evaluation run of the MLflow experiment ``evaluations``, identified by its id.

Its tasks are logged data sets, its samples are tables, and the first answers of each task are traces with verdicts. A
thread writes it, and the process waits at most `CLOSE_SECONDS` for the thread. A failure is reported and has no other
effect.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from capo_bench.track.redact import redact
from capo_bench.track.store import Store, describe_failure, open_client, silence_mlflow, store_of
from capo_bench.track.tracker import CLOSE_SECONDS

if TYPE_CHECKING:
    from capo_bench.store.evaluations import Evaluated
    from capo_bench.store.home import Home
    from capo_bench.track.desk import Desk

EXPERIMENT = "evaluations"
TRACED = 20
"""Number of answers of each task that are traced; the results folder contains all answers."""


def track(evaluated: Evaluated, home: Home, warn: Callable[[str], None], seconds: float = CLOSE_SECONDS) -> None:
    """Write an evaluation to the tracking store of `home` within `seconds`; `warn` receives the reason of a failure."""
    store, failures = store_of(home), list[Exception]()
    silence_mlflow()

    def attempt() -> None:
        try:
            _write(evaluated, store)
        except Exception as error:
            failures.append(error)

    # A daemon thread, because a store that hangs must not keep the process alive.
    thread = threading.Thread(target=attempt, name="tracking", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        failures.append(TimeoutError(f"no answer within {seconds:.0f} s"))
    for error in failures:
        warn(f"tracking failed, the evaluation is whole without it ({describe_failure(store, error)})")


def _write(evaluated: Evaluated, store: Store) -> None:
    from capo_bench.track.desk import Desk, open_experiment
    from capo_bench.track.trial import list_datasets, sample_rows

    client = open_client(store)
    experiment = open_experiment(client, EXPERIMENT, store)
    desk = Desk(client, experiment, store)
    runs = client.search_runs([experiment], f"tags.`capo.evaluation` = '{evaluated.id}'")
    tags = {"capo.kind": "evaluation", "capo.evaluation": evaluated.id, "mlflow.runType": "genai_evaluate"}
    title = redact(evaluated.title)[:250]
    run = runs[0].info if runs else client.create_run(experiment, tags=tags, run_name=title).info
    now = int(time.time() * 1000)
    for result in evaluated.results:
        values = {**{name: estimate.value for name, estimate in result.metrics.items()}, **result.cost}
        desk.values(run.run_id, values, f"{result.task}/", now)
    if not runs:  # a run's parameters can never be changed
        desk.params(run.run_id, {"model": evaluated.record["model"], "seed": evaluated.record["identity"]["seed"]})
    for path in (evaluated.files.record, evaluated.files.results, evaluated.files.table, evaluated.files.page):
        desk.file(run.run_id, path, path.name)
    samples = {path.parent.name: sample_rows(path) for path in evaluated.files.tasks.glob("*/samples.jsonl")}
    desk.tables(run.run_id, {f"samples/{task}.json": rows for task, rows in samples.items()})
    client.log_inputs(run.run_id, datasets=list_datasets(evaluated.files.tasks.iterdir()))
    if not runs:
        for task, rows in samples.items():
            _write_traces(desk, run.run_id, task, rows[:TRACED])
    client.set_terminated(run.run_id)


def _write_traces(desk: Desk, run: str, task: str, rows: list[dict[str, Any]]) -> None:
    """Write answers as traces of the run, each with its verdict, which MLflow's pages of evaluation runs compare."""
    from capo_bench.track.traces import write_trace

    for row in rows:
        inputs = {"task": task, **{name: row[name] for name in ("problem", "decoding", "sample")}}
        outputs = {"completion": row["completion"], "answer": row["answer"]}
        verdict = bool(row["correct"]), str(row["status"])
        write_trace(desk, run, "answer", inputs=inputs, outputs=outputs, verdict=verdict)
