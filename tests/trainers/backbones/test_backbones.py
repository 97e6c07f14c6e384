from __future__ import annotations

import pytest
from pydantic import ValidationError

from evals.registry import UnknownNameError
from trainers.backbones import BACKBONES, FOLDER, BackboneConfig


def test_every_file_beside_the_code_is_a_backbone():
    assert BACKBONES.names() == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert "tiny" in BACKBONES.names()


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_shipped_backbone_reads(name):
    config = BACKBONES.load(name)
    # A hub backbone without a repository could never be loaded, and an embedded one has none.
    assert (config.source == "hub") == (config.model is not None)


def test_tiny_is_as_published():
    assert BACKBONES.load("tiny") == BackboneConfig(source="embedded", dtype="float32", width=128, layers=2)


def test_an_unknown_backbone_lists_the_known_ones_and_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'tiniy' \(did you mean 'tiny'\?\); known: .*tiny"):
        BACKBONES.path("tiniy")


def test_a_name_is_not_a_path():
    with pytest.raises(UnknownNameError):
        BACKBONES.load("../backbones/tiny")


@pytest.mark.parametrize("wrong", [{"widht": 128}, {"width": "128"}, {"layers": 0}, {"dtype": "float8"}])
def test_a_backbone_is_read_strictly(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        BackboneConfig.model_validate({"source": "embedded", **wrong})
