"""Jobs as Ray tasks: what they ask of a node, which node they get, what becomes of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from capo_bench.run import wire
from capo_bench.run.cluster.control import Control, Order
from capo_bench.run.cluster.node import Terms, clean_node, run_on_node
from capo_bench.run.errors import RunError
from capo_bench.run.executor import Job

_CENSUS_SECONDS = 1.0


class Cluster:
    """The cluster that this process is connected to.

    Args:
        threads: Processor cores of each job; fewer where no node has so many.
        log: See `Terms`.
        artifacts: Likewise.
    """

    def __init__(self, threads: int, log: Path, artifacts: str | None) -> None:
        import ray

        self._ray: Any = ray
        self._counted = 0.0
        self._nodes: list[dict[str, Any]] = []
        self._cores = max(1, min(threads, int(max(node["Resources"].get("CPU", 0) for node in self._census()))))
        # Beside the runner: it is there as long as there is anybody to give orders.
        here = _on(ray.get_runtime_context().get_node_id())
        actor = ray.remote(Control).options(num_cpus=0, max_concurrency=10_000, scheduling_strategy=here)
        self._control: Any = actor.remote()
        self._terms = Terms(self._cores, log, self._control, artifacts)

    def room(self, gpus: int) -> int:
        """Return how many jobs with so many accelerators the nodes that are alive can run at a time.

        Raises:
            RunError: Not one.
        """
        room = 0
        for node in self._census():
            has = node["Resources"]
            jobs = int(has.get("CPU", 0) // self._cores)
            room += min(jobs, int(has.get("GPU", 0) // gpus)) if gpus else jobs
        if not room:
            needs = f"{self._cores} cores and {gpus} accelerators"
            raise RunError(f"no node of the Ray cluster has {needs}, which a trial needs; add one that has")
        return room

    def start(self, job: Job, key: str, avoid: str | None) -> Any:
        """Start a job as soon as there is room, on another node than `avoid` if there is one; return its stream."""
        from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

        apart: dict[str, Any] = {"ray.io/node-id": NotIn(avoid)} if avoid else {}  # type: ignore[no-untyped-call]
        task = self._ray.remote(run_on_node).options(
            num_cpus=self._cores,
            num_gpus=job.gpus,
            max_retries=0,
            num_returns="streaming",
            name=f"{job.do} {job.trial.id}",
            scheduling_strategy=NodeLabelSchedulingStrategy(hard={}, soft=apart) if apart else "SPREAD",
        )
        return task.remote(job, key, self._terms)

    def ready(self, streams: list[Any], seconds: float) -> list[Any]:
        """Return the streams that have news, waiting for the first so long at most."""
        if not self._ray.wait(streams, num_returns=1, timeout=seconds)[0]:
            return []
        return list(self._ray.wait(streams, num_returns=len(streams), timeout=0)[0])

    def next(self, stream: Any) -> list[wire.Message]:
        """Return the next messages of a job that has news; an ``end`` if it has come to one in whatever way."""
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        try:
            batch: list[wire.Message] = self._ray.get(next(stream))
        except StopIteration:
            return [lost("its task ended without a word")]
        except RayTaskError as error:
            told = f"{type(error.cause).__name__}: {error.cause}"
            return [{"kind": "end", "status": "failed", "error": told[:300], "cause": "other"}]
        except OutOfMemoryError as error:
            return [{**lost(f"its node ran out of memory: {_first_line(error)}"), "cause": "memory"}]
        except RayError as error:
            return [lost(f"its node or worker was lost: {_first_line(error)}")]
        return batch

    def order(self, order: Order, key: str | None = None) -> None:
        """Give an order to a job, or to all."""
        self._control.give.remote(order, key)

    def cancel(self, stream: Any, *, force: bool) -> None:
        """Have Ray end a task."""
        self._ray.cancel(stream, force=force)

    def wait_all(self, streams: list[Any], seconds: float) -> None:
        """Wait until all tasks have ended, so long at most."""
        end = time.monotonic() + seconds
        while streams and time.monotonic() < end:
            for stream in self.ready(streams, 0.1):
                if any(message["kind"] == "end" for message in self.next(stream)):
                    streams = [other for other in streams if other is not stream]

    def clean(self) -> None:
        """Drop what jobs left on the nodes that are alive."""
        clean = self._ray.remote(clean_node)
        ids = [node["NodeID"] for node in self._census()]
        done = [clean.options(num_cpus=0, scheduling_strategy=_on(node)).remote() for node in ids]
        self._ray.wait(done, num_returns=len(done), timeout=5)

    def _census(self) -> list[dict[str, Any]]:
        if time.monotonic() - self._counted > _CENSUS_SECONDS:
            self._nodes = [node for node in self._ray.nodes() if node["Alive"]]
            self._counted = time.monotonic()
        return self._nodes


def lost(how: str) -> wire.Message:
    """Return the end of a job that was lost."""
    return {"kind": "end", "status": "failed", "error": how[:300], "cause": "lost"}


def _on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
