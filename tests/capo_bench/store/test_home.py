from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capo_bench.store.home import Home, read_json, write_json
from evals.files import write_atomic

ROOT = Path(__file__).parents[3]


def test_the_layout_of_the_results_folder():
    home = Home(Path("/r"))
    trial, study = home.trial("ab12"), home.study("voting")
    assert {
        name: str(getattr(trial, name)) for name in ("config", "provenance", "steps", "metrics", "log", "model")
    } == {
        "config": "/r/trials/ab12/config.json",
        "provenance": "/r/trials/ab12/provenance.json",
        "steps": "/r/trials/ab12/training/steps.jsonl",
        "metrics": "/r/trials/ab12/metrics.json",
        "log": "/r/trials/ab12/trial.log",
        "model": "/r/trials/ab12/training/model",
    }
    assert str(trial.samples("coins_test")) == "/r/trials/ab12/evaluation/coins_test/samples.jsonl"
    assert str(study.ledger) == "/r/studies/voting/ledger.jsonl"
    assert str(study.profile("quick").report) == "/r/studies/voting/profiles/quick/report"
    assert str(home.stage("cold_start", "cd34")) == "/r/stages/cold_start/cd34"
    assert str(home.stage_lock("cold_start", "cd34")) == "/r/stages/cold_start/cd34.lock"
    assert str(trial.completions("coins_test")) == "/r/trials/ab12/completions/coins_test"
    assert str(home.tracking) == "/r/mlflow.db"


def test_a_stage_that_a_trial_lists_lies_under_its_key(tmp_path):
    home = Home(tmp_path)
    trial = home.trial("ab12")
    trained, answered = "cd34" * 3, "ef56" * 3
    write_json(trial.stages, {"training": trained, "completions/coins_test": answered})
    assert trial.steps == home.stage("training", trained) / "steps.jsonl"
    assert trial.completions("coins_test") == home.stage("completions", answered)
    assert trial.completions("coins_longer") == trial.path / "completions" / "coins_longer"
    assert trial.shared() == [home.stage("completions", answered), home.stage("training", trained)]


@pytest.mark.parametrize(
    "listed",
    [
        {"training": "../../../../etc"},
        {"training": "cd34"},
        {"../training": "cd34" * 3},
        {"completions/a/b": "cd34" * 3},
    ],
)
def test_a_list_of_stages_names_keys_and_no_paths(tmp_path, listed):
    trial = Home(tmp_path).trial("ab12")
    write_json(trial.stages, listed)
    with pytest.raises(ValueError, match=r"stages\.json: no stage under a key: "):
        trial.keys()


def test_asking_where_things_lie_makes_nothing(tmp_path):
    home = Home(tmp_path)
    assert not home.trial("ab12").done
    assert not list(tmp_path.iterdir())


def test_a_trial_is_done_when_its_metrics_are_there(tmp_path):
    trial = Home(tmp_path).trial("ab12")
    write_json(trial.config, {})
    assert not trial.done
    write_json(trial.metrics, {"metrics": {}, "cost": {}})
    assert trial.done


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomic(path, "old é\n")
    write_atomic(path, "new é\n")
    assert path.read_bytes() == "new é\n".encode()
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_others_may_read_a_file_as_the_umask_says(tmp_path, umask, mode):
    # In a process of its own: the umask is the whole process's.
    code = "import os, sys; from pathlib import Path; from capo_bench.store.home import write_atomic\n"
    code += f"os.umask({umask}); write_atomic(Path(sys.argv[1]), 'text')"
    subprocess.run([sys.executable, "-c", code, tmp_path / "file"], check=True, cwd=ROOT)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are a matter of POSIX")
def test_a_disk_that_fills_up_leaves_the_old_text(tmp_path):
    path = tmp_path / "metrics.json"
    write_atomic(path, "old")
    code = """
        import resource, signal, sys
        from pathlib import Path
        from capo_bench.store.home import write_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomic(Path(sys.argv[1]), "new" * 1000)
        except OSError as error:
            print("failed", error.errno)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.startswith("failed")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.json"]


def test_a_process_killed_while_it_writes_leaves_the_old_text(tmp_path):
    path = tmp_path / "metrics.json"
    write_atomic(path, "old")
    # The signal that a file over the limit brings kills the process in the middle of its writing.
    code = """
        import resource, signal, sys
        from pathlib import Path
        from capo_bench.store.home import write_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        write_atomic(Path(sys.argv[1]), "new" * 1000)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), path], check=False, cwd=ROOT)
    assert done.returncode < 0
    assert path.read_text() == "old"
    write_atomic(path, "newer")  # what the dead process left stands in nobody's way
    assert path.read_text() == "newer"


def test_a_text_that_cannot_be_encoded_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_writers_at_once_leave_one_whole_text(tmp_path):
    path = tmp_path / "file"
    texts = [str(number) * 50_000 for number in range(4)]
    writers = [threading.Thread(target=write_atomic, args=(path, text)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in texts
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_has_no_word_for_is_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "metrics.json"
    write_json(path, {"a": 1.0})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": value})
    assert read_json(path) == {"a": 1.0}


def test_json_is_written_for_eyes_too(tmp_path):
    write_json(tmp_path / "file", {"b": "é", "a": [1]})
    assert (tmp_path / "file").read_text(encoding="utf-8") == '{\n  "a": [\n    1\n  ],\n  "b": "é"\n}\n'


texts = st.text(st.characters(codec="utf-8"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(plain)
def test_plain_values_come_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / f"plain-{os.getpid()}.json"
    write_json(path, value)
    assert read_json(path) == value == json.loads(path.read_bytes())


@pytest.mark.parametrize("name", ["../../evil", "..", ".", "a/b", "", "it's", "lock"])
def test_a_profile_has_a_folder_of_its_own_whatever_it_is_called(name):
    folder = Home(Path("/r")).study("voting").profile(name).path
    assert folder.parent == Path("/r/studies/voting/profiles")
    assert ".." not in folder.parts
