"""What a machine lacks for a study, found on real servers, files and folders; GPUs alone are stood in for."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from capo_bench.cli import main
from capo_bench.doctor import disk, machine, network
from capo_bench.doctor.needs import HubItem, collect_needs
from capo_bench.doctor.packages import check_packages
from capo_bench.study.load import load_plan
from capo_bench.study.memory import estimate_trial_memory
from evals.tasks import SUITES
from trainers.backbones import VllmRollouts
from trainers.config import TrainConfig, TrialConfig
from trainers.critics.endpoint import EndpointParams

MODEL = "org/critic"
PAPER = TrainConfig(prompts_per_step=64, group_size=16, max_completion_tokens=1024)


def needs(profile="paper", *sets):
    return collect_needs(load_plan("voting", profile, tuple(sets), ()))


@contextmanager
def server(pages, date=None):
    """A server on 127.0.0.1 that answers paths with (status, body); `seen` holds the headers of each request."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
            status, body, *more = pages.get(self.path, (404, {"error": "none"}))
            self.send_response_only(status)
            self.send_header("Date", date or formatdate(usegmt=True))
            for name, value in more[0].items() if more else ():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", seen
    finally:
        running.shutdown()
        running.server_close()


def asked(url, **more):
    params = EndpointParams.model_validate({"name": "openai", "model": MODEL, "base_url": f"{url}/v1", **more})
    return network.check_endpoint(params)


def listing(*names):
    return {"/v1/models": (200, {"data": [{"id": name} for name in names]})}


def models(study, profile, *only, sets=()):
    hub = collect_needs(load_plan(study, profile, sets, only)).hub
    return [(item.name, item.revision) for item in hub if item.kind == "model"]


def test_a_process_reward_model_of_the_hub_is_needed_where_a_method_asks_it():
    named = ("org/prm", None)
    for asked in ("prm_sum", "prm_min"):
        assert models("main", "full", asked, sets=("prm.model=org/prm",)) == [named]
    assert models("main", "full", "prm_*") == []
    assert models("main", "full", "dapo", sets=("prm.model=org/prm",)) == []
    policy, prm = models("main", "paper", "method=prm_sum,backbone=qwen2.5-1.5b")
    assert (policy[0], prm[0]) == ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-Math-PRM-7B")
    assert len(prm[1]) == 40


def test_a_critic_in_the_process_is_needed_and_one_that_is_the_policy_is_the_policy():
    only, critic = "vote=majority", "critic={name: transformers, model: %s}"
    policy = ("Qwen/Qwen2.5-1.5B", "8faed761d45a263340a0528343f099c05c9a4323")
    assert models("voting", "paper", only, sets=(critic % "org/critic",)) == [policy, ("org/critic", None)]
    assert models("voting", "paper", only, sets=(critic % "policy",)) == [policy]


def test_what_a_plan_needs_is_gathered_once():
    found = needs()
    assert list(found.backbones) == ["qwen2.5-1.5b"]
    named = [(item.kind, item.name) for item in found.hub]
    assert named[:2] == [("model", "Qwen/Qwen2.5-1.5B"), ("dataset", "EleutherAI/hendrycks_math")]
    assert ("dataset", "HuggingFaceH4/MATH-500") in named
    assert len(named) == len({*named}) == 2 + len(SUITES["paper"])
    assert all(len(item.revision) == 40 for item in found.hub)
    assert [params.model for params in found.endpoints] == ["Qwen/Qwen2.5-72B-Instruct"]
    assert found.extras == {"vllm": "evaluation.backend: vllm"}
    local = needs("quick")
    assert (local.hub, local.endpoints, local.servers, local.extras) == ({}, (), (), {})


def measured_on(**evaluation):
    plan = load_plan("voting", "quick", (), ())
    config = TrialConfig.model_validate({"evaluation": {"tasks": ["math500", "coins_test"], **evaluation}})
    return collect_needs(replace(plan, trials=(replace(plan.trials[0], config=config),)))


def test_tasks_of_the_hub_need_it_and_those_in_a_folder_do_not():
    (dataset,) = measured_on().hub
    assert (dataset.kind, len(dataset.revision)) == ("dataset", 40)
    assert not measured_on(data_dir="data").hub


def test_an_endpoint_that_serves_the_model_is_well(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k-123")
    with server(listing("other", MODEL)) as (url, seen):
        found, clock = asked(url)
    assert (found.state, found.text) == ("ok", f"serves {MODEL}")
    assert clock.state == "ok"
    assert seen[0][1]["Authorization"] == "Bearer k-123"


def test_an_endpoint_that_serves_another_model_is_told_with_both_names():
    with server(listing("other")) as (url, _):
        found = asked(url)[0]
    assert (found.state, found.text) == ("missing", f"serves other, not {MODEL}")
    assert "critic.model" in found.remedy


@pytest.mark.parametrize("key", ["", "k-wrong"])
def test_a_key_that_is_refused_is_named_and_never_shown(monkeypatch, key):
    monkeypatch.setenv("OTHER_KEY", key)
    with server({"/v1/models": (401, {})}) as (url, _):
        found = asked(url, api_key_env="OTHER_KEY")[0]
    assert found.state == "missing"
    assert "OTHER_KEY" in found.text
    assert "k-wrong" not in found.text + found.remedy


def test_an_endpoint_that_is_down_is_missing():
    with server({}) as (url, _):
        pass
    assert asked(url)[0].state == "missing"
    assert "start the server" in asked(url)[0].remedy


def test_an_endpoint_that_lists_nothing_is_not_judged():
    with server({"/v1/models": (200, ["what?"])}) as (url, _):
        assert asked(url)[0].state == "unknown"


def test_a_clock_that_is_off_is_a_warning():
    with server(listing(MODEL), date="Mon, 01 Jan 2024 00:00:00 GMT") as (url, _):
        clock = asked(url)[1]
    assert clock.state == "warning"
    assert clock.text.startswith("+")


def test_a_server_of_rollouts_is_asked_for_its_health():
    with server({"/health": (200, {})}) as (url, _):
        port = int(url.rpartition(":")[2])
        assert network.check_rollout_server(VllmRollouts(mode="server", port=port)).state == "ok"
    down = network.check_rollout_server(VllmRollouts(mode="server", port=port))
    assert (down.state, down.text) == ("missing", "does not answer")
    assert "capo-bench plan" in down.remedy


INFO = {"id": "org/model", "sha": "a" * 40, "siblings": [], "tags": [], "private": False, "downloads": 0, "likes": 0}


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        ((200, INFO), "ok", "on the hub, at aaaaaaaaaaaa"),
        ((403, {}, {"X-Error-Code": "GatedRepo"}), "missing", "gated"),
        ((404, {}, {"X-Error-Code": "RepoNotFound"}), "missing", "the hub has none"),
        ((404, {}, {"X-Error-Code": "RevisionNotFound"}), "missing", "the hub has none, or not at aaaaaaaaaaaa"),
    ],
)
def test_the_hub_is_asked_for_the_revision(monkeypatch, answer, state, told):
    with server({f"/api/models/org/model/revision/{'a' * 40}": answer}) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
        found = network.check_hub_item(HubItem("model", "org/model", "a" * 40))
    assert (found.state, told in found.text) == (state, True)


def test_a_hub_that_cannot_be_reached_has_a_way_out(monkeypatch):
    with server({}) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url)
    found = network.check_hub_item(HubItem("model", "org/model", None))
    assert found.state == "missing"
    assert "mirror" in found.remedy


def test_a_folder_needs_no_hub(tmp_path):
    assert network.check_hub_item(HubItem("model", str(tmp_path), None)).state == "ok"


def test_no_gpus_are_missing_and_too_few_are(monkeypatch):
    (none,) = machine.check_gpus(needs())
    assert none.state == "missing"
    assert "none visible" in none.text
    assert next(machine.check_gpus(needs("quick"))).state == "ok"
    gpu(monkeypatch, 1, 80)
    big = needs("paper", "backbone=qwen2.5-7b")
    assert "8 needed, 1 visible (X1)" in next(machine.check_gpus(big)).text


SERVED = "critic={name: openai, model: org/critic, parameters: 8e9, serve: {gpus: 4, tensor_parallel_size: 4}}"


def test_a_served_critic_needs_its_gpus_its_model_and_vllm(monkeypatch):
    found = needs("paper", SERVED)
    assert (found.endpoints, [one.model for one in found.served]) == ((), ["org/critic"])
    assert ("org/critic", None) in [(item.name, item.revision) for item in found.hub]
    assert disk.list_downloads(found)[HubItem("model", "org/critic", None)] == 16_000_000_000
    assert "5 planned for (4 of them for critics that the run serves)" in list(machine.check_gpus(found))[-1].text
    gpu(monkeypatch, 4, 80)
    assert "5 needed (4 of them for critics that the run serves), 4 visible" in next(machine.check_gpus(found)).text
    gpu(monkeypatch, 5, 80)
    assert next(machine.check_gpus(found)).state == "ok"
    assert needs("quick", SERVED, "evaluation.backend=hf").extras == {"vllm": "critic.serve"}


def test_more_gpus_for_a_critic_than_there_are_is_told_whatever_trains(monkeypatch):
    found = needs("quick", SERVED)
    (none,) = machine.check_gpus(found)
    assert (none.what, none.state) == ("GPUs for critics", "missing")
    assert "4 needed, 0 visible" in none.text
    gpu(monkeypatch, 4, 80)
    assert next(machine.check_gpus(found)).state == "ok"


def test_a_critic_that_shares_the_gpus_of_trials_takes_its_share_of_their_memory():
    critic = {"name": "openai", "model": "org/critic", "serve": {"gpus": 0, "gpu_memory_utilization": 0.3}}
    config = TrialConfig(backbone="qwen2.5-1.5b", cold_start=None, train=PAPER, critic=critic)
    alone = estimate_trial_memory(config.model_copy(update={"method": "grpo_rule"}))
    assert estimate_trial_memory(config).peak == pytest.approx(alone.peak + 0.3 * alone.gpu)


def test_gpus_that_are_too_small_are_told_with_what_a_step_takes(monkeypatch):
    gpu(monkeypatch, 1, 80)
    assert next(machine.check_gpus(needs())).state == "ok"
    gpu(monkeypatch, 1, 24)
    small = next(machine.check_gpus(needs()))
    assert small.state == "missing"
    assert "1 needed, 1 visible (X1) with 24.0 GiB free, and a step takes about" in small.text
    gpu(monkeypatch, 1, 24, total=80)  # a server holds the rest
    held = next(machine.check_gpus(needs()))
    assert held.state == "missing"
    assert "with 24.0 GiB free of 80.0 GiB, and a step takes about" in held.text
    assert "nvidia-smi" in held.remedy
    gpu(monkeypatch, 1, 80, bf16=False)
    assert "no bfloat16" in next(machine.check_gpus(needs())).text


@pytest.fixture
def weights(tmp_path):
    """A folder of a model of 2²⁰ numbers: 4 MiB in float32."""
    save_file({"w": torch.zeros(2**20)}, tmp_path / "model.safetensors")
    return tmp_path


def beside(folder):
    sets = (f"prm.model={folder}", "prm.dtype=float32", "prm.parameters=null")
    return collect_needs(load_plan("main", "paper", sets, ("*backbone=qwen2.5-1.5b",)))


def test_a_gpu_has_to_hold_what_is_beside_the_policy_whichever_trial_asks_it(monkeypatch, weights):
    alone = estimate_trial_memory(
        TrialConfig(method="grpo_rule", backbone="qwen2.5-1.5b", cold_start=None, train=PAPER)
    ).peak
    gpu(monkeypatch, 1, (alone + 4 * 2**20) / 2**30)
    assert next(machine.check_gpus(beside(weights))).state == "ok"
    gpu(monkeypatch, 1, (alone + 3 * 2**20) / 2**30)
    assert next(machine.check_gpus(beside(weights))).state == "missing"
    unknown = next(machine.check_gpus(beside("org/prm")))
    assert unknown.state == "unknown"
    assert unknown.text.endswith("and the PRM beside it")
    assert "download it" in unknown.remedy


def gpu(monkeypatch, count, gib, bf16=True, total=None):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "X1")
    memory = (int(gib * 2**30), int((gib if total is None else total) * 2**30))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda index: memory)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: bf16)


def leave_free(monkeypatch, memory: int) -> None:
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=memory))


def test_memory_is_compared_with_what_workers_take(monkeypatch):
    leave_free(monkeypatch, 5 * 2**30)
    assert machine.host_memory(needs("quick"), workers=2).state == "ok"
    crowded = machine.host_memory(needs("quick"), workers=3)
    assert (crowded.state, crowded.text) == ("missing", "5.0 GiB available, about 6.0 GiB needed")


def test_each_process_loads_what_is_beside_the_policy(monkeypatch, weights):
    free = 2 * (machine.WORKER_BYTES + 4 * 2**20)
    leave_free(monkeypatch, free - 1)
    without = collect_needs(load_plan("main", "full", (), ("prm_sum",)))
    besides = collect_needs(load_plan("main", "full", (f"prm.model={weights}",), ("prm_sum",)))
    assert machine.host_memory(without, workers=2).state == "ok"
    assert machine.host_memory(besides, workers=2).state == "missing"
    leave_free(monkeypatch, free)
    assert machine.host_memory(besides, workers=2).state == "ok"
    unknown = machine.host_memory(
        collect_needs(load_plan("main", "full", ("prm.model=org/prm",), ("prm_sum",))), workers=2
    )
    assert (unknown.state, unknown.text) == ("unknown", "4.0 GiB available, about 4.0 GiB needed without the PRM")
    assert "name its folder" in unknown.remedy


def test_packages_are_held_to_what_the_project_requires(monkeypatch):
    assert next(check_packages(needs("quick"))).state == "ok"
    listed = ["torch>=99", "no-such-package>=1", "numpy>=2; python_version < '3'", "click>=8"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: listed)
    found = next(check_packages(needs("quick")))
    assert found.state == "missing"
    assert "no-such-package is not installed" in found.text
    assert "where >=99 is required" in found.text
    assert "numpy" not in found.text
    assert "constraints.txt" in found.remedy


def test_the_command_says_what_is_missing_and_ends_with_1(tmp_path):
    home = ["--home", str(tmp_path)]
    well = CliRunner().invoke(main, ["doctor", "voting", *home])
    assert well.exit_code == 0, well.output
    assert "this machine can run it" in well.output
    ill = CliRunner().invoke(main, ["doctor", "voting", "--only", "exact", "--set", "backbone=qwen2.5-7b", *home])
    assert ill.exit_code == 2  # an embedded cold start for a backbone of the hub
    with server({}) as (url, _):
        critic = f"critic.base_url={url}/v1"
    ill = CliRunner(env={"HF_ENDPOINT": url}).invoke(
        main, ["doctor", "voting", "--profile", "paper", "--set", critic, "--json", *home]
    )
    assert ill.exit_code == 1
    found = {one["what"]: one for one in json.loads(ill.output)["findings"]}
    assert found["GPUs for qwen2.5-1.5b"]["state"] == "missing"
    assert found[f"critic endpoint {url}/v1"]["remedy"]
    assert not list(tmp_path.iterdir())
