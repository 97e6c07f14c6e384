"""Training in several processes of this machine: Accelerate starts them, this listens to them and ends them.

Between the worker and the processes stands the launcher, ``python -m capo_bench.run.launch FOLDER PARENT_PID``, which
is Accelerate's own. It dies with the worker and the processes die with it, whatever ends the worker.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from capo_bench.home import read_json, write_json
from capo_bench.run.failures import Cause
from capo_bench.run.orphans import die_with
from capo_bench.run.rank import LAUNCHER, RESULT, STOP, write_job
from capo_bench.run.shared import emit_step
from trainers.backbones import BACKBONES, BackboneConfig, DeepSpeedConfig, FsdpConfig
from trainers.methods import Emit

if TYPE_CHECKING:
    from capo_bench.run.training import Training

CONFIG, DEAD = "accelerate.yaml", "dead.json"
RANK = "capo_bench.run.rank"
POLL_SECONDS = 0.2
_OURS = {signal.SIGTERM, signal.SIGABRT}
"""Signals by which a process dies because another one did: ended by the launcher, or by its own lost connection."""


class RankError(RuntimeError):
    """One of the processes that train a trial failed, and with it all of them.

    Attributes:
        cause: Why.
    """

    def __init__(self, message: str, cause: Cause = "other") -> None:
        super().__init__(message)
        self.cause = cause


def launch(training: Training, emit: Emit, stop: Callable[[], bool], module: str = RANK) -> bool:
    """Train in as many processes as the backbone says.

    Args:
        training: What is trained. Its step records are there up to the checkpoint to go on from.
        emit: Told of every step, once.
        stop: Asked now and then; true: all processes save a checkpoint after the step they are at, and return.
        module: What each process runs.

    Returns:
        True when the trained model is there, False when training was stopped with a checkpoint.

    Raises:
        ValueError: This machine lacks what the backbone asks for.
        RankError: A process failed, or was killed.
    """
    backbone = BACKBONES.load(training.trial.config.backbone)
    cpu = check_machine(training.trial.config.backbone, backbone)
    folder = training.folder.path / ".launch"
    shutil.rmtree(folder, ignore_errors=True)
    write_job(training, folder)
    (folder / CONFIG).write_text(yaml.safe_dump(accelerate_config(backbone, cpu=cpu)), encoding="utf-8")
    heard = _records(training.folder.steps)
    launcher = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-u", "-m", "capo_bench.run.launch", str(folder), str(os.getpid()), module],
        env=_environment(backbone, cpu=cpu),
        stdin=subprocess.DEVNULL,
    )
    try:
        while not _ended(launcher):
            if stop():
                (folder / STOP).touch()
            _tell(heard, emit)
    finally:
        launcher.kill()  # after an error of this process; else it is gone
        code = launcher.wait()
    _tell(heard, emit)
    finished = _result(folder, backbone.processes, code)
    shutil.rmtree(folder)
    return finished


def check_machine(name: str, backbone: BackboneConfig) -> bool:
    """Return whether the processes train on the CPU.

    Raises:
        ValueError: GPUs are lacking, or the package that shards; says which and what to do.
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


def accelerate_config(backbone: BackboneConfig, *, cpu: bool) -> dict[str, Any]:
    """Return the configuration of `accelerate launch` for a backbone."""
    kinds = {"none": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    common: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        # Also on the CPU: for MULTI_CPU Accelerate starts a single process, or asks for MPI. That the processes are to
        # use the CPU, and with it gloo, is said by the trainer's settings.
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
        common["fsdp_config"] = _fsdp(backbone.fsdp or FsdpConfig())
    if backbone.sharding == "deepspeed":
        common["deepspeed_config"] = _deepspeed(backbone.deepspeed or DeepSpeedConfig())
    return common


def _fsdp(config: FsdpConfig) -> dict[str, Any]:
    layers = {"fsdp_transformer_layer_cls_to_wrap": ",".join(config.layers)} if config.layers else {}
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": config.reshard_after_forward,
        "fsdp_offload_params": config.cpu_offload,
        "fsdp_state_dict_type": f"{config.checkpoints.upper()}_STATE_DICT",
        # Every process has loaded the weights by the time that the model is shared out.
        "fsdp_cpu_ram_efficient_loading": False,
        **layers,
    }


def _deepspeed(config: DeepSpeedConfig) -> dict[str, Any]:
    return {
        "zero_stage": config.stage,
        "offload_optimizer_device": config.offload_optimizer,
        "offload_param_device": config.offload_param,
        # The model is loaded before DeepSpeed is asked for, and saved whole, for `from_pretrained` to read.
        "zero3_init_flag": False,
        "zero3_save_16bit_model": True,
    }


def _environment(backbone: BackboneConfig, *, cpu: bool) -> dict[str, str]:
    """Return the environment of the launcher: what this process imports, its cores divided, its GPUs or none."""
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", "1")) // backbone.processes)
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    common = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": str(threads)}
    if not cpu:
        return os.environ | common
    # Without a name gloo asks what address the host's name has, which may be none. Without a device Accelerate counts
    # CPUs ("cpu:1"), and no checkpoint can be loaded to such a one.
    on_cpu = {"CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo", "ACCELERATE_TORCH_DEVICE": "cpu"}
    return os.environ | common | on_cpu


def _ended(launcher: subprocess.Popen[bytes]) -> bool:
    try:
        launcher.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _records(steps: Path) -> Iterator[dict[str, Any] | None]:
    """Yield the records that are appended to a file from now on, each once, and None where there is no more yet."""
    read = steps.stat().st_size if steps.exists() else 0
    while True:
        text = b""
        if steps.exists():
            with steps.open("rb") as file:
                file.seek(read)
                text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        read += len(whole)
        yield from map(json.loads, whole.splitlines())
        yield None


def _tell(heard: Iterator[dict[str, Any] | None], emit: Emit) -> None:
    while (record := next(heard)) is not None:
        emit_step(emit, "step", record)


def _result(folder: Path, processes: int, code: int) -> bool:
    """Return whether the first process finished; raise the error that was the first, not what it led to elsewhere."""
    if code == 0 and (folder / RESULT).exists():
        return bool(read_json(folder / RESULT)["finished"])
    dead = read_json(folder / DEAD) if (folder / DEAD).exists() else {}
    errors = {path.stem.partition("-")[2]: read_json(path) for path in folder.glob("error-*.json")}
    killed = {rank: number for rank, number in dead.items() if number > 0 and number not in _OURS}
    if killed:
        rank, number = min(killed.items())
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        raise RankError(f"process {rank} of {processes} was killed by {signal.Signals(number).name}{hint}", "lost")
    if errors:
        rank, told = min(errors.items(), key=lambda item: item[1]["time"])
        raise RankError(f"process {rank} of {processes}: {told['error']}", told["cause"])
    if code < 0:
        raise RankError(f"the launcher of {processes} processes was killed by {signal.Signals(-code).name}", "lost")
    raise RankError(f"the launcher of {processes} processes ended with exit code {code}; the trial's log says more")


def main() -> None:
    """Be the launcher: start the processes and wait for them; if one fails, end the others and say which died of what.

    Exits with 1 if one failed.
    """
    folder, parent, module = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with(parent)
    from accelerate.commands.launch import (  # type: ignore[import-untyped]
        launch_command,
        launch_command_parser,
    )
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[LAUNCHER] = str(os.getpid())
    options = ["--config_file", str(folder / CONFIG), "--log_dir", str(folder / "log")]
    args = launch_command_parser().parse_args([*options, "--module", module, str(folder)])
    # torchrun's: it takes a free port itself, so that no two launches want the same one.
    args.standalone, args.local_addr = True, "127.0.0.1"
    try:
        launch_command(args)
    except ChildFailedError as error:
        dead = {str(rank): -failure.exitcode for rank, failure in error.failures.items()}
        write_json(folder / DEAD, dead)
        sys.exit(1)


if __name__ == "__main__":
    main()
