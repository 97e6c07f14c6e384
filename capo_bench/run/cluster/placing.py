"""Submit jobs as Ray tasks: their resources, the choice of a node, and their outcome."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.run import wire
from capo_bench.run.cluster.control import Control, Order
from capo_bench.run.cluster.node import run_on_node
from capo_bench.run.executor import Job
from capo_bench.store.errors import RunError

if TYPE_CHECKING:
    from capo_bench.study.served import ServedCritic

_CENSUS_SECONDS = 1.0
_HOLD_SECONDS = 60.0


class GpuHolder:
    """An actor that only reserves accelerators; jobs do not get them."""

    def names(self) -> str:
        """Return the names of the accelerators, as in CUDA_VISIBLE_DEVICES."""
        return os.environ["CUDA_VISIBLE_DEVICES"]


class Cluster:
    """The cluster that this process is connected to.

    Args:
        threads: Processor cores of each job; reduced if no node has so many.
        log: File for output that workers print outside of jobs.
    """

    def __init__(self, threads: int, log: Path) -> None:
        import ray

        self._ray: Any = ray
        self._log = log
        self._counted = 0.0
        self._nodes: list[dict[str, Any]] = []
        self._cores = max(1, min(threads, int(max(node["Resources"].get("CPU", 0) for node in self._list_nodes()))))
        self._here = str(ray.get_runtime_context().get_node_id())
        self._holders: list[Any] = []
        self._held = 0
        # On the runner's node: it lives as long as the runner can give orders.
        actor = ray.remote(Control).options(num_cpus=0, scheduling_strategy=_pin_to(self._here))
        self._control: Any = actor.remote()

    def hold(self, critic: ServedCritic) -> list[str]:
        """Reserve accelerators of this node for a critic's server; return their names.

        Raises:
            RunError: This node does not have enough accelerators, or other runs use them.
        """
        wanted, free = critic.serve.gpus, self._count_gpus(self._here)
        names = self._take(wanted) if wanted <= free else ""
        if not names:
            lack = f"{critic} asks for {wanted} GPUs of its own, and this node of the Ray cluster has {free:g} left"
            raise RunError(f"{lack}; set critic.serve.gpus lower, or start the run on a larger node")
        return names.split(",")

    def _take(self, gpus: int) -> str:
        """Reserve accelerators of this node; return their names, or an empty string if other runs use them."""
        options = {"num_cpus": 0, "num_gpus": gpus, "scheduling_strategy": _pin_to(self._here)}
        holder = self._ray.remote(GpuHolder).options(**options).remote()
        names = holder.names.remote()
        if not self._ray.wait([names], timeout=_HOLD_SECONDS)[0]:
            return ""
        self._holders.append(holder)
        self._held += gpus
        return str(self._ray.get(names))

    def room(self, job: Job) -> int:
        """Return how many jobs like this one the live nodes can run in parallel.

        Raises:
            RunError: No node can run the job.
        """
        room, gpus = 0, job.gpus
        for node in self._list_nodes():
            if job.critic_url and node["NodeID"] != self._here:
                continue
            jobs = int(node["Resources"].get("CPU", 0) // self._cores)
            room += min(jobs, int(self._count_gpus(node["NodeID"]) // gpus)) if gpus else jobs
        if not room:
            needs = f"{self._cores} cores and {gpus} accelerators"
            if job.critic_url:
                lack = f"this node of the Ray cluster, where the trial's critic is served, has no {needs} beside that"
                raise RunError(f"{lack}; start the run on a larger node, or set critic.serve.gpus lower")
            raise RunError(f"no node of the Ray cluster has {needs}, which a trial needs; add one that has")
        return room

    def _count_gpus(self, node_id: str) -> float:
        has = sum(node["Resources"].get("GPU", 0) for node in self._list_nodes() if node["NodeID"] == node_id)
        return float(has) - (self._held if node_id == self._here else 0)

    def start(self, job: Job, key: str, avoid: str | None) -> Any:
        """Submit a job, on another node than `avoid` if possible; return the stream of its messages."""
        from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

        apart: dict[str, Any] = {"ray.io/node-id": NotIn(avoid)} if avoid else {}  # type: ignore[no-untyped-call]
        where: Any = NodeLabelSchedulingStrategy(hard={}, soft=apart) if apart else "SPREAD"
        if job.critic_url:  # only this node can reach the server's address
            where = _pin_to(self._here)
        task = self._ray.remote(run_on_node).options(
            num_cpus=self._cores,
            num_gpus=job.gpus,
            max_retries=0,
            num_returns="streaming",
            name=f"{job.do} {job.trial.id}",
            scheduling_strategy=where,
        )
        return task.remote(job, key, self._cores, self._log, self._control)

    def ready(self, streams: list[Any], seconds: float) -> list[Any]:
        """Return the streams that have new messages; wait at most `seconds` for the first."""
        if not self._ray.wait(streams, num_returns=1, timeout=seconds)[0]:
            return []
        return list(self._ray.wait(streams, num_returns=len(streams), timeout=0)[0])

    def next(self, stream: Any) -> list[wire.Message]:
        """Return the next messages of a job; if its task ended in any other way, an ``end`` message."""
        from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

        try:
            batch: list[wire.Message] = self._ray.get(next(stream))
        except StopIteration:
            return [build_lost_message("its task ended without a word")]
        except RayTaskError as error:
            reason = f"{type(error.cause).__name__}: {error.cause}"
            return [{"kind": "end", "status": "failed", "error": reason[:300], "cause": "other"}]
        except OutOfMemoryError as error:
            return [{**build_lost_message(f"its node ran out of memory: {_take_first_line(error)}"), "cause": "memory"}]
        except RayError as error:
            return [build_lost_message(f"its node or worker was lost: {_take_first_line(error)}")]
        return batch

    def order(self, order: Order, key: str | None = None) -> None:
        """Give an order to one job, or to all."""
        self._control.give.remote(order, key)

    def cancel(self, stream: Any, *, force: bool) -> None:
        """Cancel a task in Ray."""
        self._ray.cancel(stream, force=force)

    def wait_all(self, streams: list[Any], seconds: float) -> None:
        """Wait until all tasks have ended, at most `seconds`."""
        end = time.monotonic() + seconds
        while streams and time.monotonic() < end:
            for stream in self.ready(streams, 0.1):
                if any(message["kind"] == "end" for message in self.next(stream)):
                    streams = [other for other in streams if other is not stream]

    def _list_nodes(self) -> list[dict[str, Any]]:
        if time.monotonic() - self._counted > _CENSUS_SECONDS:
            self._nodes = [node for node in self._ray.nodes() if node["Alive"]]
            self._counted = time.monotonic()
        return self._nodes


def build_lost_message(how: str) -> wire.Message:
    """Return the end message of a job that was lost."""
    return {"kind": "end", "status": "failed", "error": how[:300], "cause": "lost"}


def _pin_to(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _take_first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
