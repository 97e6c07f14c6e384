"""`capo-bench export`: cards, folders that the hub's own libraries read, and the way to a stand-in of the hub."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import DatasetCard, ModelCard

from capo_bench.cli import main
from capo_bench.store.home import TrialFolder

sys.path.append(str(Path(__file__).parents[1]))

from fakehome import FakeHome


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's API as an upload of small files takes; keeps what it was sent."""

    server: HubServer

    @property
    def here(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.keys.add(self.headers.get("Authorization"))
        parts = self.path.strip("/").split("/")
        if self.server.closed:
            return self.answer({"error": "no"}, 403)
        if parts[-1] == "create":
            asked = json.loads(body)
            self.server.repositories.append((asked.get("type", "model"), asked["name"], asked.get("visibility")))
            kind = "datasets/" if asked.get("type") == "dataset" else ""
            name = f"{asked['organization']}/{asked['name']}"
            return self.answer({"url": f"{self.here}/{kind}{name}", "name": name, "id": name})
        if parts[-1] == "validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if parts[-2] == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            return self.answer(
                {"files": [{key: file[key] for key in ("path", "uploadMode", "shouldIgnore")} for file in files]}
            )
        assert parts[-2] == "commit"
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                path = f"{parts[1]}/{parts[3]}/{line['value']['path']}"
                self.server.files[path] = base64.b64decode(line["value"]["content"])
        return self.answer(
            {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.here}/{parts[2]}/{parts[3]}/commit/0"}
        )

    def do_GET(self) -> None:
        self.answer({"id": "me/x", "sha": "0" * 40, "siblings": [], "private": True, "tags": []})

    def answer(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


class HubServer(ThreadingHTTPServer):
    """A stand-in of the hub on this machine."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        self.repositories: list[tuple[str, str, str]] = []
        self.files: dict[str, bytes] = {}
        self.keys: set[str | None] = set()
        self.closed = False


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    server = HubServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def trial(tmp_path: Path) -> TrialFolder:
    fake = FakeHome(tmp_path).finish("majority", seeds=(0,))
    folder = fake.home.trial(next(trial.id for trial in fake.plan().trials if trial.variant == "majority"))
    folder.model.mkdir()
    for name in ("config.json", "model.safetensors", "training_args.bin"):
        (folder.model / name).write_text("{}", encoding="utf-8")
    return folder


def export(trial: TrialFolder, *args: object) -> Result:
    words = ["export", trial.path, "--out", trial.path.parent / "out", *args]
    return CliRunner().invoke(main, [str(word) for word in words])


def test_cards_are_read_by_the_hubs_own_library_and_say_what_was_measured(trial: TrialFolder) -> None:
    done = export(trial, "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    model = ModelCard.load(Path(made["model"]) / "README.md")
    metrics = json.loads(trial.metrics.read_text())["metrics"]
    (result,) = model.data.eval_results
    assert (result.dataset_name, result.metric_value) == ("coins_test", metrics["coins_test/accuracy"])
    assert "capo" in model.data.tags
    assert "vote: majority" in model.text
    assert "seed noise" in model.text
    data = DatasetCard.load(Path(made["dataset"]) / "README.md")
    assert [part["config_name"] for part in data.data.to_dict()["configs"]] == ["rollouts", "samples_coins_test"]


def test_parts_load_as_a_data_set_and_nothing_pickled_is_exported(trial: TrialFolder) -> None:
    from datasets import load_dataset

    made = json.loads(export(trial, "--json").stdout)
    assert {path.name for path in Path(made["model"]).iterdir()} == {"README.md", "config.json", "model.safetensors"}
    rows = load_dataset("json", data_files=f"{made['dataset']}/samples_coins_test.jsonl", split="train")
    assert len(rows) == 64 * 5
    text = DatasetCard.load(Path(made["dataset"]) / "README.md").text
    assert "| `samples_coins_test` | 320 |" in text


def test_secrets_do_not_leave_the_machine(trial: TrialFolder, hub: HubServer) -> None:
    samples = trial.samples("coins_test")
    first = {**json.loads(samples.read_text().splitlines()[0]), "completion": "my key is hf_abcdefgh"}
    samples.write_text(json.dumps(first) + "\n")
    assert export(trial, "--push", "me/policy").exit_code == 0
    assert b"hf_abcdefgh" not in b"".join(hub.files.values())
    assert b"my key is ***HF_TOKEN***" in hub.files["datasets/policy-rollouts/samples_coins_test.jsonl"]


def test_push_makes_two_private_repositories_with_all_files(trial: TrialFolder, hub: HubServer) -> None:
    done = export(trial, "--push", "me/policy", "--json")
    assert done.exit_code == 0, done.output
    assert hub.repositories == [("model", "policy", "private"), ("dataset", "policy-rollouts", "private")]
    made = json.loads(done.stdout)
    at = f"http://127.0.0.1:{hub.server_port}"
    assert made["pushed"] == [f"{at}/me/policy", f"{at}/datasets/me/policy-rollouts"]
    for kind, repository in (("model", "models/policy"), ("dataset", "datasets/policy-rollouts")):
        for path in Path(made[kind]).iterdir():
            assert hub.files[f"{repository}/{path.name}"] == path.read_bytes()
    assert hub.keys == {"Bearer hf_abcdefgh"}


def test_nothing_is_pushed_without_the_flag(trial: TrialFolder, hub: HubServer) -> None:
    assert export(trial).exit_code == 0
    assert export(trial, "--public").exit_code == 2
    assert (hub.repositories, hub.files) == ([], {})


def test_a_hub_that_refuses_is_told_with_the_way_out(trial: TrialFolder, hub: HubServer) -> None:
    hub.closed = True
    done = export(trial, "--push", "me/policy")
    assert done.exit_code == 2
    assert "me/policy: the hub did not take it" in done.output
    assert "set HF_TOKEN to a key that may write there" in done.output
    assert "Traceback" not in done.output


def test_a_trial_that_has_not_finished_or_is_damaged_is_refused(trial: TrialFolder) -> None:
    kept = trial.metrics.read_text()
    trial.metrics.unlink()
    assert "has not finished; run its study first" in export(trial).output
    trial.metrics.write_text(kept[:20])
    broken = export(trial)
    assert (broken.exit_code, "cannot be exported" in broken.output) == (2, True)
