"""Check the machine's GPUs and memory."""

from __future__ import annotations

from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]

from capo_bench.doctor.needs import Finding, Needs
from capo_bench.run.devices import count_cores
from capo_bench.run.limits import format_size
from capo_bench.study.beside import list_models_beside
from capo_bench.study.gpu_time import count_server_gpus
from capo_bench.study.memory import estimate_trial_memory

WORKER_BYTES = 2 * 2**30
"""Memory of a process without the weights of hub models: imported libraries and embedded models."""
_USED = 2**30
"""Bytes of a GPU that the driver and this process may use; more means that another program uses it."""
SIZE_UNKNOWN = (
    "nobody knows how large that is: download it, name its folder, or set critic.parameters or prm.parameters"
)


def check_gpus(needs: Needs) -> Iterator[Finding]:
    """Yield findings on whether there are enough GPUs for each backbone, and whether they have enough memory."""
    import torch

    seen = torch.cuda.device_count()
    names = ", ".join(sorted({torch.cuda.get_device_name(index) for index in range(seen)}))
    visible = f"{seen} visible" + (f" ({names})" if names else "")
    wanting = {name: backbone for name, backbone in needs.backbones.items() if backbone.gpus}
    critics = sum(critic.serve.gpus for critic in needs.served)
    beside = f" ({critics} of them for critics that the run serves)" if critics else ""
    if not wanting and not critics:
        yield Finding("GPUs", "ok", f"none needed, {visible}")
    if critics > seen:
        remedy = "set critic.serve.gpus lower (0 shares those of the trials), or run on a machine with more"
        yield Finding("GPUs for critics", "missing", f"{critics} needed, {visible}", remedy)
    elif critics and not wanting:
        yield Finding("GPUs for critics", "ok", f"{critics} needed, {visible}")
    for name, backbone in wanting.items():
        wanted = backbone.gpus + count_server_gpus(backbone) + critics
        what = f"GPUs for {name}"
        if seen == 0:
            lack = f"{wanted} planned for{beside} and none visible: processors would do it, if at all"
            yield Finding(what, "missing", lack, "run on a machine with GPUs, or take a CUDA build of torch (README)")
        elif seen < wanted:
            remedy = "set the backbone's processes lower, free GPUs, or run on a larger machine or a cluster"
            yield Finding(what, "missing", f"{wanted} needed{beside}, {visible}", remedy)
        else:
            yield _check_memory(what, name, needs, f"{wanted} needed{beside}, {visible}")


def _check_memory(what: str, name: str, needs: Needs, count: str) -> Finding:
    import torch

    held = [memory for memory in map(estimate_trial_memory, needs.trained[name]) if memory is not None]
    peak, unknown = (
        max((memory.peak for memory in held), default=0.0),
        {role for memory in held for role in memory.unknown},
    )
    # Memory that other programs use, including that of a server, is not free for a trial.
    free, total = min(torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count()))
    memory_text = f"{format_size(free)} free" + (f" of {format_size(total)}" if total - free > _USED else "")
    if peak > free:
        remedy = (
            "end what holds the GPU (nvidia-smi names it), lower the backbone's micro_batch or vllm.memory, shard "
            "among more GPUs, or train adapters (lora)"
        )
        return Finding(
            what, "missing", f"{count} with {memory_text}, and a step takes about {format_size(peak)}", remedy
        )
    if needs.backbones[name].precision == "bfloat16" and not torch.cuda.is_bf16_supported():
        return Finding(what, "missing", f"{count}, which have no bfloat16", "set the backbone's precision to float32")
    if unknown:
        beside = f"a step takes about {format_size(peak)} and the {' and the '.join(sorted(unknown))} beside it"
        return Finding(what, "unknown", f"{count} with {memory_text}; {beside}", SIZE_UNKNOWN)
    return Finding(what, "ok", f"{count} with {memory_text}")


def host_memory(needs: Needs, workers: int | None = None) -> Finding:
    """Check whether the host's memory is large enough for the workers, with the weights that each process loads."""
    free = psutil.virtual_memory().available
    wanted = max(_estimate_loaded(name, needs, workers or count_cores()) for name in needs.backbones)
    sizes = f"{format_size(free)} available, about {format_size(wanted)} needed"
    if free < wanted:
        return Finding(
            "memory", "missing", sizes, "fewer --workers, close other programs, or a machine with more memory"
        )
    models = [model for configs in needs.trained.values() for config in configs for model in list_models_beside(config)]
    if unknown := sorted({model.role for model in models if model.weights is None}):
        return Finding("memory", "unknown", f"{sizes} without the {' and the '.join(unknown)}", SIZE_UNKNOWN)
    return Finding("memory", "ok", sizes)


def _estimate_loaded(name: str, needs: Needs, workers: int) -> int:
    """Return the host memory for training a backbone: each process loads the policy and the models beside it."""
    backbone = needs.backbones[name]
    beside = [sum(model.weights or 0 for model in list_models_beside(config)) for config in needs.trained[name]]
    weights = 4 * backbone.planned.parameters if backbone.planned else 0
    processes = backbone.processes * (workers if backbone.source == "embedded" else 1)
    return processes * (WORKER_BYTES + weights + max(beside, default=0))
