import os
import shutil
import signal
import tempfile

import pytest
import standins
from raystandins import descendants

from capo_bench.process.interrupt import Interrupts
from capo_bench.run.cluster.executor import RayExecutor
from capo_bench.run.executor import Job

STORE = 80 * 2**20


class OneOrTwoNodes:
    """A cluster on this machine: a node of one core with the driver on it, and a second one when it is wanted.

    The first node has three accelerators, of which Ray is only told.
    """

    def __init__(self):
        from ray.cluster_utils import Cluster

        settings = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        # A lost node is given up after two seconds, not half a minute.
        health = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_timeout_ms": 1000}
        settings["_system_config"] = {**health, "health_check_failure_threshold": 3}
        self._cluster = Cluster(initialize_head=True, head_node_args={**settings, "num_gpus": 3})
        self._second = None
        self.address = self._cluster.address

    def add_second(self):
        """Start the second node."""
        self._second = self._cluster.add_node(num_cpus=1, object_store_memory=STORE)
        self._cluster.wait_for_nodes()

    @property
    def second(self):
        """Ray's id of the second node."""
        return self._second.node_id

    def lose_second(self):
        """End the second node as a power cut would: its raylet and all that it started at once."""
        for info in [info for infos in self._second.all_processes.values() for info in infos]:
            for pid in [info.process.pid, *descendants(info.process.pid)]:
                os.kill(pid, signal.SIGKILL)

    def forget_second(self):
        """Tidy up behind the second node."""
        self._cluster.remove_node(self._second, allow_graceful=False)

    def close(self):
        """End all of it."""
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="trials on a cluster need Ray: pip install 'capo-bench[ray]'")
    # What a lost node leaves in its temporary directory goes with it; short, because sockets are made in it.
    folder = tempfile.mkdtemp(prefix="cb-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        made = OneOrTwoNodes()
        yield made
        made.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def two_nodes(cluster):
    cluster.add_second()
    yield cluster
    cluster.forget_second()


@pytest.fixture
def job(home):
    """Makes the job of a stand-in trial."""

    def make(variant, seed=0, task=standins.TASK, **more):
        trial = standins.make_plan([variant], seeds=(seed,)).trials[0]
        folder = home.trial(trial.id)
        return Job("trial", task, trial, home.path, folder.log, folder.path / "lock", **more)

    return make


@pytest.fixture
def ray_executor(home, cluster):
    """Opens an executor on the cluster; closed at the end of the test."""
    opened = []

    def open_one(count=None, log=home.path / "workers.log"):
        interrupts = Interrupts().__enter__()
        home.path.mkdir(parents=True, exist_ok=True)  # as a run does
        executor = RayExecutor(count, 1, log, interrupts, cluster.address).__enter__()
        opened.append((executor, interrupts))
        return executor

    yield open_one
    for executor, interrupts in opened:
        executor.__exit__()
        interrupts.__exit__(None, None, None)
