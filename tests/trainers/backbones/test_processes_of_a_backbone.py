"""How many processes train a backbone, how it is shared out among them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evals.registry import UnknownNameError
from trainers.backbones import BACKBONES, OWN_FOLDER, BackboneConfig, DeepSpeedConfig, FsdpConfig
from trainers.config import TrialConfig

HUB = {"source": "hub", "model": "some/model"}


def backbone(**settings: Any) -> BackboneConfig:
    return BackboneConfig.model_validate({**HUB, **settings})


def test_by_default_one_process_has_everything() -> None:
    assert (backbone().processes, backbone().sharding, backbone().gpus) == (1, "none", 1)
    assert backbone().fsdp is None
    assert backbone().deepspeed is None


@pytest.mark.parametrize(("source", "processes", "gpus"), [("hub", 1, 1), ("hub", 8, 8), ("embedded", 2, 0)])
def test_a_process_wants_a_gpu_unless_the_model_is_embedded(source: str, processes: int, gpus: int) -> None:
    assert BackboneConfig.model_validate({"source": source, "processes": processes}).gpus == gpus


def test_sections_are_read_with_their_defaults() -> None:
    sharded = backbone(processes=4, sharding="fsdp", fsdp={"layers": ["Qwen2DecoderLayer"], "cpu_offload": True})
    assert sharded.fsdp == FsdpConfig(layers=("Qwen2DecoderLayer",), cpu_offload=True)
    assert sharded.fsdp.checkpoints == "sharded"
    assert backbone(processes=4, sharding="deepspeed", deepspeed={"stage": 3}).deepspeed == DeepSpeedConfig(stage=3)
    assert backbone(processes=4, sharding="fsdp").fsdp is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"processes": 0}, "processes"),
        ({"processes": "2"}, "processes"),
        ({"processes": 2, "sharding": "zero"}, "sharding"),
        ({"sharding": "fsdp"}, "sharding 'fsdp' with 1 process: .* set processes to 2 or more or remove sharding"),
        ({"processes": 2, "fsdp": {}}, "section fsdp with sharding 'none': .* set sharding to fsdp or remove"),
        (
            {"processes": 2, "sharding": "fsdp", "deepspeed": {"stage": 3}},
            "section deepspeed with sharding 'fsdp': .* set sharding to deepspeed or remove the section",
        ),
        ({"processes": 2, "sharding": "deepspeed", "fsdp": {}}, "section fsdp with sharding 'deepspeed'"),
        ({"processes": 2, "sharding": "deepspeed", "deepspeed": {"stage": 0}}, "deepspeed.stage"),
        ({"processes": 2, "sharding": "deepspeed", "deepspeed": {"zero": 3}}, "deepspeed.zero"),
        (
            {"processes": 2, "sharding": "deepspeed", "deepspeed": {"stage": 2, "offload_param": "cpu"}},
            "offload_param 'cpu' with stage 2: .* set stage to 3 or offload_param to none",
        ),
        ({"source": "embedded", "processes": 2, "sharding": "fsdp"}, "an embedded model is trained on the CPU"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_way_out(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        backbone(**settings)


def test_a_study_may_name_a_backbone_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("source: hub\nmodel: my/model\nprocesses: 2\nsharding: fsdp\n")
    with pytest.raises(UnknownNameError, match=f"unknown backbone 'mine'.*the folder that {OWN_FOLDER} names"):
        BACKBONES.load("mine")
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path))
    assert {"mine", "tiny"} <= {*BACKBONES.names()}
    assert TrialConfig(backbone="mine", cold_start=None).backbone == "mine"
    assert BACKBONES.load("mine") == BackboneConfig(source="hub", model="my/model", processes=2, sharding="fsdp")
    assert BACKBONES.path("tiny").parent != tmp_path


def test_a_name_that_ships_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text("source: embedded\nwidth: 8\n")
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path))
    with pytest.raises(ValueError, match=r"tiny.yaml: a backbone 'tiny' ships with capo-bench; rename yours"):
        BACKBONES.load("tiny")
