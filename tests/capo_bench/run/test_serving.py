"""A critic that the run serves: one server for all trials, watched, started again, and gone with the run.

The server is a stand-in for vLLM's that is started by the same command: see tests/standin_vllm.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from standins import SERVED, SHARED, make_plan, servers_started

from capo_bench.run import serving
from capo_bench.run.devices import share_out
from capo_bench.run.serving import CriticServer, build_command
from capo_bench.store.errors import RunError
from capo_bench.store.home import read_json
from capo_bench.study.served import list_served_critics
from trainers.critics.serve import URL

TESTS = Path(__file__).parents[2]
STANDIN = (TESTS, TESTS / "standin_vllm")
pytestmark = pytest.mark.usefixtures("standin_vllm")


def plan_of(*variants, model="org/critic", seeds=(0,), **serve):
    critic = {**SERVED, "model": model, "serve": {**SERVED["serve"], **serve}}
    return make_plan(variants, seeds=seeds, critic=critic)


def closed(url):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(re.search(r":(\d+)/", url)[1]))) != 0


def test_all_trials_ask_one_server_which_ends_with_the_run(session, home, until, is_alive, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "nobody knows it")
    result = session.run(plan_of("asks", "asks 2", seeds=(0, 1), max_model_len=512), workers=2)
    assert (result.done, result.exit_code) == (4, 0)
    (started,) = servers_started()
    until(lambda: not is_alive(started["pid"]) and not is_alive(started["engine"]))
    given = {"--model": "org/critic", "--host": "127.0.0.1", "--max-model-len": "512"}
    assert given.items() <= started["options"].items()
    (url,) = re.findall(r"the server of critic 'org/critic' is ready at (\S+)", session.shown.getvalue())
    assert closed(url)
    assert url not in (home.trial("asks-0").path / "env.json").read_text()
    assert read_json(home.trial("asks-0").path / "env.json")["memory_taken"] == str(SHARED["gpu_memory_utilization"])
    assert session.events()[1] == "trial_started asks-0"


def test_a_server_that_is_killed_is_started_again_at_its_address_and_the_trial_goes_on(session, home):
    assert session.run(plan_of("kills", model="slow"), workers=1, retries=0).exit_code == 0
    first, second = servers_started()
    assert first["options"]["--port"] == second["options"]["--port"]
    shown = session.shown.getvalue()
    assert "was lost: it was killed by SIGKILL (out of memory?); it is started again (1 of 3; log" in shown
    # Not a try that counts: the trial had no part in it.
    assert [record["attempt"] for record in session.records("trial_retried")] == [1]


def test_a_server_that_dies_too_often_is_given_up_and_others_go_on(session, monkeypatch):
    monkeypatch.setattr(serving, "RESTARTS", 0)
    plan = plan_of("kills", "asks")
    assert session.run(plan, workers=1).exit_code == 1
    assert len(servers_started()) == 1
    errors = {record["trial"]: record["error"] for record in session.records("trial_failed")}
    end = "it was killed by SIGKILL (out of memory?), and was started again 0 times before"
    told = f"the server of critic 'org/critic' was lost: {end}"
    assert all(error.startswith(told) for error in errors.values())
    assert errors.keys() == {"kills-0", "asks-0"}
    assert session.records("trial_retried") == []


def test_a_server_that_never_comes_up_fails_its_trials_with_the_end_of_its_log(session):
    assert session.run(plan_of("asks", model="broken"), workers=1).exit_code == 1
    (record,) = session.records("trial_failed")
    assert "the server of critic 'broken' was lost: it ended with exit code 1 (log " in record["error"]
    assert "loading broken\nOSError: no such model" in session.shown.getvalue()
    assert len(servers_started()) == 1
    assert "trial_started asks-0" not in session.events()


def test_a_server_that_is_not_ready_in_time_is_ended(session, until, is_alive):
    assert session.run(plan_of("asks", model="mute", start_seconds=0.5), workers=1).exit_code == 1
    assert "was not ready within 0.5 s (serve.start_seconds)" in session.records("trial_failed")[0]["error"]
    until(lambda: not is_alive(servers_started()[0]["engine"]))


def test_a_server_that_hangs_is_started_again(session, monkeypatch):
    monkeypatch.setattr(serving, "HUNG_SECONDS", 0.5)
    plan = make_plan(["asks"], critic={**SERVED, "model": "hangs", "deadline_seconds": 2})
    assert session.run(plan, workers=1).exit_code == 0
    assert "was lost: it did not answer for" in session.shown.getvalue()
    assert len(servers_started()) == 2


def test_trials_whose_critic_is_not_served_do_not_wait_for_it(session):
    plan = plan_of("asks", model="broken")
    other = make_plan(["ok"]).trials
    both = type(plan)(**{**vars(plan), "trials": (*plan.trials, *other)})
    assert session.run(both, workers=1).done == 1


def test_no_critic_is_served_for_trials_that_have_trained(session, home):
    plan = plan_of("ok", model="broken")
    home.trial("ok-0").model.mkdir(parents=True)
    assert session.run(plan, workers=1).exit_code == 0
    assert servers_started() == []


def test_each_served_critic_has_a_server_of_its_own(session):
    plan, other = plan_of("asks"), plan_of("asks 2", model="org/other", max_model_len=256)
    both = type(plan)(**{**vars(plan), "trials": (*plan.trials, *other.trials)})
    assert session.run(both, workers=2).exit_code == 0
    started = {one["options"]["--served-model-name"]: one["options"] for one in servers_started()}
    assert started.keys() == {"org/critic", "org/other"}
    assert len({options["--port"] for options in started.values()}) == 2


def test_the_server_dies_with_a_runner_that_is_killed(runner_process, until, is_alive, home):
    runner = runner_process("asks", "steady", paths=STANDIN)
    (started,) = until(servers_started)
    until(home.trial("asks-0").path.exists)
    assert is_alive(started["engine"])
    runner.kill()
    runner.wait()
    until(lambda: not is_alive(started["pid"]) and not is_alive(started["engine"]))


def test_a_port_that_is_kept_can_be_taken_by_the_server_alone(tmp_path):
    (critic,) = list_served_critics(plan_of("asks").trials)
    refused = pytest.raises(OSError, match="Address already in use")
    with CriticServer(critic, [], tmp_path / "log") as server, socket.socket() as other, refused:
        other.bind(("127.0.0.1", server.port))


def test_servers_have_their_gpus_and_trials_the_others(session, home, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    assert session.run(plan_of("asks", gpus=2, tensor_parallel_size=2), workers=1).exit_code == 0
    (started,) = servers_started()
    assert started["gpus"] == "5,7"
    assert started["options"]["--tensor-parallel-size"] == "2"
    assert read_json(home.trial("asks-0").path / "env.json")["gpus"] == ""


@pytest.mark.parametrize(("visible", "told"), [("0,1", "2 are visible"), ("0", "1 is visible"), ("", "0 are visible")])
def test_a_critic_that_asks_for_more_gpus_than_there_are_is_refused(session, monkeypatch, visible, told):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(RunError, match=re.escape(f"critic.serve.gpus: 4 for 'org/critic', and {told}; set it lower")):
        session.run(plan_of("asks", gpus=4))
    assert servers_started() == []


def test_without_vllm_the_line_that_installs_it_is_told(session, monkeypatch):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "standin_vllm" not in entry])
    if serving.importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    with pytest.raises(RunError, match=re.escape("pip install 'capo-bench[vllm]'")):
        session.run(plan_of("asks"))


def of(plan):
    return list_served_critics(plan.trials)[0]


def test_gpus_are_shared_out_from_the_end_and_a_server_without_its_own_shares_the_first():
    own, shared = of(plan_of("asks", gpus=2)), of(plan_of("asks", tensor_parallel_size=2, model="b"))
    shares, left = share_out([own, shared], ["0", "1", "2", "3"])
    assert (shares, left) == ({own: ["2", "3"], shared: ["0", "1"]}, ["0", "1"])


def test_the_command_says_what_the_settings_say():
    critic = of(plan_of("asks", gpus=8, tensor_parallel_size=4, revision="abc", quantization="fp8", max_num_seqs=64))
    words = " ".join(build_command(critic, "/models/critic", 4321, on_gpus=True))
    for option in (
        "--model /models/critic --served-model-name org/critic --host 127.0.0.1 --port 4321",
        "--generation-config vllm", "--tensor-parallel-size 4", "--data-parallel-size 2", "--revision abc",
        "--tokenizer-revision abc", "--quantization fp8", "--max-num-seqs 64", "--gpu-memory-utilization 0.4",
    ):  # fmt: skip
        assert option in words
    assert "trust" not in words
    on_processors = " ".join(build_command(critic, "m", 1, on_gpus=False))
    assert "--no-enable-chunked-prefill" in on_processors
    assert "parallel" not in on_processors


STUDY = """
name: served
question: Does a trial train through a critic that the run teaches and serves?
baseline: capo
metrics: [coins_test/accuracy]
base:
  cold_start: {steps: 4, problems_per_step: 8}
  train: {steps: 2, prompts_per_step: 2, group_size: 2, max_completion_tokens: 12}
  credit: {critiques: 2, max_abstained: 1.0}
  critic:
    name: openai
    model: embedded
    embedded: {steps: 2, problems_per_step: 4}
    serve: {gpus: 0, gpu_memory_utilization: 0.4, dtype: float32}
  evaluation: {tasks: [coins_test], problems: 4, max_completion_tokens: 12}
include: [{name: capo, set: {method: capo}}]
seeds: [0]
"""


def test_one_command_teaches_a_critic_serves_it_and_trains_through_it(tmp_path):
    (tmp_path / "served.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "capo_bench", "run", "served.yaml", "--home", "home", "--no-tracking"]
    paths = os.pathsep.join(map(str, (*STANDIN, TESTS.parent)))
    env = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (started,) = servers_started()
    (taught,) = tmp_path.glob("home/stages/critic/*/model.safetensors")
    assert started["options"]["--model"] == str(taught.parent.relative_to(tmp_path))
    (steps,) = tmp_path.glob("home/stages/training/*/steps.jsonl")
    asked = [json.loads(line) for line in steps.read_text().splitlines()]
    assert [(step["critiques"], step["critic_output_tokens"] > 0) for step in asked] == [(8, True), (8, True)]
    port = started["options"]["--port"]
    assert all(port not in path.read_text() for path in tmp_path.glob("home/trials/*/*.json"))


def test_a_server_for_one_command_is_started_again_when_it_dies(tmp_path, until, is_alive):
    (critic,) = list_served_critics(plan_of("asks").trials)
    with serving.serve_critic(critic, None, tmp_path / "server.log"):
        (first,) = servers_started()
        os.kill(first["pid"], signal.SIGKILL)
        until(lambda: len(servers_started()) == 2)
        until(lambda: not closed(os.environ[URL]))
    second = servers_started()[1]
    assert second["options"]["--port"] == first["options"]["--port"]
    until(lambda: not is_alive(second["pid"]))
