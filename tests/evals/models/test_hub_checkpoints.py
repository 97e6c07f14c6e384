"""Models named by repository id, from the hub's cache: what a machine without a way to the hub has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tinymodel import save_model

SHA, OTHER = "a" * 40, "b" * 40

SCRIPT = """
    import json, sys
    from evals.models.base import ModelError
    from evals.models.open import open_model
    from evals.models.spec import read_spec

    def told(model, revision):
        try:
            return open_model(read_spec(model=model, revision=revision)).identity()
        except ModelError as error:
            return str(error)

    print(json.dumps([told(*each) for each in json.loads(sys.argv[1])]))
"""


def in_cache(home, name, sha):
    """Return the folder of a repository's commit in the cache, its main branch pointing there."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(sha)
    (repository / "snapshots").mkdir()
    return repository / "snapshots" / sha


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    home = tmp_path_factory.mktemp("home")
    model = in_cache(home, "me/tiny", SHA)
    save_model(model)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=2, target_modules=["q_proj"]))
    adapter = in_cache(home, "me/lora", OTHER)
    adapted.save_pretrained(adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "me/tiny"}))
    moved = shutil.copytree(adapter, home / "adapter")
    asked = [("me/tiny", None), ("me/tiny", SHA), ("me/lora", None), (str(moved), None), ("me/none", None)]
    asked.append(("me/tiny", "v9"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(["plain", "pinned", "lora", "moved", "none", "v9"], json.loads(done.stdout), strict=True))


def test_a_repository_is_known_by_its_commit_whether_it_was_pinned_or_not(told):
    assert (told["plain"]["model"], told["plain"]["revision"]) == ("me/tiny", SHA)
    assert told["pinned"] == told["plain"]
    assert "weights" not in told["plain"]


def test_an_adapter_of_the_hub_and_its_copy_in_a_folder_are_one(told):
    assert told["lora"]["revision"] == SHA
    assert len(told["lora"]["adapter"]) == 12
    assert told["lora"] == told["moved"]


def test_what_is_not_there_is_told_with_a_way_out(told):
    assert told["none"].startswith("model 'me/none' cannot be opened: ")
    assert "hub that can be reached from here or is in its cache" in told["none"]
    assert told["v9"].startswith("model 'me/tiny' cannot be opened: ")
