"""What Accelerate is told of a backbone that several processes train: read by its own launcher and plugins."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from capo_bench.run.launch import check_machine, write_accelerate_config
from trainers.backbones import BackboneConfig

HUB: dict[str, Any] = {"source": "hub", "model": "some/model", "precision": "bfloat16", "processes": 4}


def backbone(**settings: Any) -> BackboneConfig:
    return BackboneConfig.model_validate({**HUB, **settings})


def accelerated(config: BackboneConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have Accelerate's own launcher read the configuration and set the environment that its plugins read."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump(write_accelerate_config(config, cpu=False)))
    args = launch_command_parser().parse_args(["--config_file", str(path), "--module", "some.module"])
    args, *_ = _validate_launch_command(args)
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""
        environment = prepare_deepspeed_cmd_env(args)[1]
    else:
        environment = prepare_multi_gpu_env(args)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return args


def test_processes_that_have_everything_are_as_accelerate_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = accelerated(backbone(), tmp_path, monkeypatch)
    assert (args.num_processes, args.multi_gpu, args.use_fsdp, args.use_deepspeed) == (4, True, False, False)
    assert (args.num_machines, args.mixed_precision) == (1, "bf16")
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_full_precision_stays_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accelerated(backbone(precision="float32"), tmp_path, monkeypatch).mixed_precision == "no"


@pytest.mark.parametrize(("checkpoints", "expected"), [("sharded", "SHARDED_STATE_DICT"), ("full", "FULL_STATE_DICT")])
def test_accelerates_fsdp_plugin_is_as_the_backbone_says(
    checkpoints: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    section = {"layers": ["A", "B"], "reshard_after_forward": False, "cpu_offload": True, "checkpoints": checkpoints}
    args = accelerated(backbone(sharding="fsdp", fsdp=section), tmp_path, monkeypatch)
    assert (args.use_fsdp, args.multi_gpu, args.use_deepspeed) == (True, False, False)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is False
    assert type(plugin.cpu_offload).__name__ == "CPUOffloadPolicy"
    assert plugin.transformer_cls_names_to_wrap == ["A", "B"]
    assert plugin.state_dict_type.name == expected
    plugin.set_state_dict_type("FULL_STATE_DICT")  # before the trained model is saved
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"


def test_layers_that_are_not_named_are_those_that_the_model_does_not_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    accelerated(backbone(sharding="fsdp"), tmp_path, monkeypatch)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.reshard_after_forward is True
    assert plugin.transformer_cls_names_to_wrap is None
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"


@pytest.mark.parametrize(
    ("section", "optimizer", "parameters"),
    [({}, "none", "none"), ({"stage": 3, "offload_optimizer": "cpu", "offload_param": "cpu"}, "cpu", "cpu")],
)
def test_accelerates_deepspeed_plugin_is_as_the_backbone_says(
    section: dict[str, Any], optimizer: str, parameters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.utils import DeepSpeedPlugin

    config = backbone(sharding="deepspeed", deepspeed=section)
    assert accelerated(config, tmp_path, monkeypatch).use_deepspeed
    zero = DeepSpeedPlugin().deepspeed_config["zero_optimization"]
    assert zero["stage"] == section.get("stage", 2)
    assert (zero["offload_optimizer"]["device"], zero["offload_param"]["device"]) == (optimizer, parameters)
    assert zero["stage3_gather_16bit_weights_on_model_save"] is True


@pytest.mark.parametrize(
    ("settings", "gpus", "told"),
    [
        ({}, 2, r"'big' is trained by 4 processes, one a GPU, and sees 2; .* or set processes to 2"),
        ({"sharding": "fsdp"}, 0, r"'big' has sharding 'fsdp' among 4 GPUs and sees 0; .* set processes to 1"),
        ({"sharding": "fsdp"}, 3, r"sees 3"),
    ],
)
def test_gpus_that_are_lacking_are_told_before_anything_starts(
    settings: dict[str, Any], gpus: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ValueError, match=told):
        check_machine("big", backbone(**settings))


@pytest.mark.parametrize(("settings", "gpus", "cpu"), [({}, 4, False), ({}, 8, False), ({}, 0, True)])
def test_a_model_of_a_hub_is_trained_on_gpus_where_there_are_any(
    settings: dict[str, Any], gpus: int, cpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert check_machine("big", backbone(**settings)) is cpu


def test_an_embedded_model_is_trained_on_the_cpu_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert check_machine("pair", BackboneConfig(source="embedded", processes=2))


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is installed")
def test_deepspeed_that_is_not_installed_is_told_with_a_way_out() -> None:
    told = r"the package deepspeed is not installed; pip install deepspeed, or set sharding to fsdp"
    with pytest.raises(ValueError, match=told):
        check_machine("big", backbone(sharding="deepspeed"))
