"""Run work of a trial in separate processes: start them, read their events, and end them.

A model from a hub is trained in such processes and evaluated in another one. The resources that a stage holds (GPU
memory, an engine, state of libraries) are freed when its process ends, and the worker itself never holds a model. The
worker starts a single process directly. Several processes that train together run under a launcher, ``python -m
capo_bench.run.launch FOLDER``, which uses Accelerate's own launcher. The launcher ends when the worker ends, and the
processes end when the launcher ends, for any reason.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from capo_bench.process.orphans import describe_end, die_with
from capo_bench.run.failures import Cause
from capo_bench.run.work import EVENTS, JOB, PARENT, RESULT, STOP
from capo_bench.store.home import read_json, write_json
from trainers import Emit
from trainers.backbones import BACKBONES, BackboneConfig, DeepSpeedConfig, FsdpConfig

CONFIG, DEAD = "accelerate.yaml", "dead.json"
RANK, LAUNCHER = "capo_bench.run.work", "capo_bench.run.launch"
POLL_SECONDS = 0.2
_OURS = {signal.SIGTERM, signal.SIGABRT}
"""Signals that end a process because another one died: from the launcher, or from its own lost connection."""

_OF_A_GROUP = {
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "TORCHELASTIC_RUN_ID",
}
"""Environment variables that mark a process as one of several; new processes do not inherit them."""


class RankError(RuntimeError):
    """A process that does work of a trial failed, and therefore all of them."""

    def __init__(self, message: str, cause: Cause = "other") -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class Processes:
    """The processes of one work, and the environment variables that they get in addition to those of this process.

    `accelerate` is the configuration of `accelerate launch`, which starts several processes; None for a single process.
    """

    count: int
    accelerate: dict[str, Any] | None
    environment: dict[str, str]


def describe_one_process(gpu: str | None = None) -> Processes:
    """Return a single process for undivided work; it has the cores of this process, and its GPUs or one of them."""
    return Processes(1, None, _build_environment(1) | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}))


def describe_training_processes(name: str) -> Processes:
    """Return the processes that train the backbone with this name.

    Raises:
        ValueError: This machine lacks GPUs or a package that the backbone needs.
    """
    backbone = BACKBONES.load(name)
    if backbone.processes == 1:
        return describe_one_process()
    cpu = check_machine(name, backbone)
    environment = _build_environment(backbone.processes) | (_ON_CPU if cpu else {})
    return Processes(backbone.processes, write_accelerate_config(backbone, cpu=cpu), environment)


def launch(  # noqa: PLR0913, PLR0917 - what is done, by which processes, where, and who is notified
    task: str, settings: dict[str, Any], processes: Processes, folder: Path, emit: Emit, stop: Callable[[], bool]
) -> bool:
    """Run a task in separate processes that communicate with this one through files in `folder`.

    The folder is created anew, and deleted when the work ends without an error.

    Args:
        task: ``"module:function"``; see `capo_bench.run.work`.
        settings: Plain values for the task.
        processes: The processes that run it.
        folder: Folder for the exchanged files.
        emit: Receives each message of the first process once.
        stop: Called several times a second; after it returns True, all processes save their state and return.

    Returns:
        True when the work is done, False when it was stopped.

    Raises:
        RankError: A process failed or was killed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / JOB, {"task": task, "settings": settings})
    module = RANK if processes.accelerate is None else LAUNCHER
    if processes.accelerate is not None:
        (folder / CONFIG).write_text(yaml.safe_dump(processes.accelerate), encoding="utf-8")
    events = _follow_events(folder / EVENTS)
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_GROUP}
    started = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-u", "-m", module, str(folder)],
        env=inherited | processes.environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        while not _has_ended(started):
            if stop():
                (folder / STOP).touch()
            _emit_new(events, emit)
    finally:
        started.kill()  # has no effect unless this process had an error
        code = started.wait()
    _emit_new(events, emit)
    finished = _read_result(folder, processes.count, code)
    shutil.rmtree(folder)
    return finished


def check_machine(name: str, backbone: BackboneConfig) -> bool:
    """Return whether the processes train on the CPU.

    Raises:
        ValueError: GPUs or the package for sharding are missing; says which, and what to do.
    """
    import torch

    processes, gpus = backbone.processes, torch.cuda.device_count()
    if backbone.sharding == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise ValueError(
            f"backbone {name!r} has sharding 'deepspeed', and the package deepspeed is not installed; "
            "pip install deepspeed, or set sharding to fsdp, which needs nothing more"
        )
    if backbone.sharding != "none" and gpus < processes:
        raise ValueError(
            f"backbone {name!r} has sharding {backbone.sharding!r} among {processes} GPUs and sees {gpus}; "
            "Accelerate shards on GPUs alone: give it as many, or remove sharding and set processes to 1"
        )
    if backbone.gpus and 0 < gpus < processes:
        raise ValueError(
            f"backbone {name!r} is trained by {processes} processes, one a GPU, and sees {gpus}; give it as many, or "
            f"set processes to {gpus}"
        )
    return gpus == 0 or not backbone.gpus


def write_accelerate_config(backbone: BackboneConfig, *, cpu: bool) -> dict[str, Any]:
    """Return the configuration of `accelerate launch` for a backbone."""
    kinds = {"none": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    common: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        # Also on the CPU: for MULTI_CPU, Accelerate starts a single process or requires MPI. The trainer's settings
        # select the CPU, and with it gloo.
        "distributed_type": kinds[backbone.sharding],
        "num_processes": backbone.processes,
        "num_machines": 1,
        "machine_rank": 0,
        "main_process_ip": "127.0.0.1",
        "main_process_port": 0,
        "mixed_precision": "bf16" if backbone.precision == "bfloat16" else "no",
        "use_cpu": cpu,
    }
    if backbone.sharding == "fsdp":
        common["fsdp_config"] = _build_fsdp(backbone.fsdp or FsdpConfig())
    if backbone.sharding == "deepspeed":
        common["deepspeed_config"] = _build_deepspeed(backbone.deepspeed or DeepSpeedConfig())
    return common


def _build_fsdp(config: FsdpConfig) -> dict[str, Any]:
    layers = {"fsdp_transformer_layer_cls_to_wrap": ",".join(config.layers)} if config.layers else {}
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": config.reshard_after_forward,
        "fsdp_offload_params": config.cpu_offload,
        "fsdp_state_dict_type": f"{config.checkpoints.upper()}_STATE_DICT",
        # Every process has loaded the weights before the model is sharded.
        "fsdp_cpu_ram_efficient_loading": False,
        **layers,
    }


def _build_deepspeed(config: DeepSpeedConfig) -> dict[str, Any]:
    return {
        "zero_stage": config.stage,
        "offload_optimizer_device": config.offload_optimizer,
        "offload_param_device": config.offload_param,
        # The model is loaded before DeepSpeed starts, and is saved whole because `from_pretrained` reads it.
        "zero3_init_flag": False,
        "zero3_save_16bit_model": True,
    }


_ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo", "ACCELERATE_TORCH_DEVICE": "cpu"}
"""Environment variables for several processes on a CPU.

Without an interface name, gloo resolves the host name, which may have no address. Without a device, Accelerate numbers
the CPUs ("cpu:1"), and checkpoints cannot be loaded to such a device.
"""


def _build_environment(processes: int) -> dict[str, str]:
    """Return the environment of each process: the import path, its share of the cores, and the id of its parent."""
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "1")) // processes)
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    common = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": str(threads)}
    return common | {PARENT: str(os.getpid())}


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _follow_events(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yield each complete line that is appended to a file, once, and None whenever there is no new line yet."""
    read = 0
    while True:
        text = b""
        if path.exists():
            with path.open("rb") as file:
                file.seek(read)
                text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        read += len(whole)
        yield from map(json.loads, whole.splitlines())
        yield None


def _emit_new(events: Iterator[dict[str, Any] | None], emit: Emit) -> None:
    while (event := next(events)) is not None:
        emit(event)


def _read_result(folder: Path, processes: int, code: int) -> bool:
    """Return whether the first process finished the work.

    Raises:
        RankError: A process failed. The error is that of the process that failed first; later errors are consequences.
    """
    if code == 0 and (folder / RESULT).exists():
        return bool(read_json(folder / RESULT)["finished"])
    dead = read_json(folder / DEAD) if (folder / DEAD).exists() else {}
    errors = {path.stem.partition("-")[2]: read_json(path) for path in folder.glob("error-*.json")}
    killed = {rank: number for rank, number in dead.items() if number > 0 and number not in _OURS}
    if processes == 1 and code < 0:
        killed = {"0": -code}
    if killed:
        rank, number = min(killed.items())
        raise RankError(f"{_name_process(rank, processes)} {describe_end(-number)}", "lost")
    if errors:
        rank, failure = min(errors.items(), key=lambda item: item[1]["time"])
        raise RankError(f"{_name_process(rank, processes)}: {failure['error']}", failure["cause"])
    if code < 0:
        raise RankError(f"the launcher of {processes} processes {describe_end(code)}", "lost")
    whose = "the process" if processes == 1 else f"the launcher of {processes} processes"
    raise RankError(f"{whose} {describe_end(code)}; the trial's log says more")


def _name_process(rank: str, processes: int) -> str:
    return "its process" if processes == 1 else f"process {rank} of {processes}"


def main() -> None:
    """Run the launcher: start the processes, wait for them, and if one fails, end the others and write exit codes.

    Exits with code 1 if a process failed.
    """
    folder = Path(sys.argv[1])
    die_with(int(os.environ[PARENT]))
    from accelerate.commands.launch import (  # type: ignore[import-untyped]
        launch_command,
        launch_command_parser,
    )
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[PARENT] = str(os.getpid())
    options = ["--config_file", str(folder / CONFIG), "--log_dir", str(folder / "log")]
    args = launch_command_parser().parse_args([*options, "--module", RANK, str(folder)])
    # Options of torchrun, which chooses a free port itself: two launches never use the same port.
    args.standalone, args.local_addr = True, "127.0.0.1"
    try:
        launch_command(args)
    except ChildFailedError as error:
        dead = {str(rank): -failure.exitcode for rank, failure in error.failures.items()}
        write_json(folder / DEAD, dead)
        sys.exit(1)


if __name__ == "__main__":
    main()
