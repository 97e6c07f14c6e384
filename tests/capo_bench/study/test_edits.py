"""Edits of the program and of plug-ins × kinds of trials: which trials are new after which edit."""

from __future__ import annotations

import json
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import evals.definitions
from capo_bench.study import code, identity
from capo_bench.study.identity import hash_plain, identify_trial
from evals import plumbing
from evals.definitions import Definitions
from evals.sources import Modules
from evals.tasks import identity as tasks
from trainers.config import TrialConfig

ROOT = Path(__file__).parents[3]
PACKAGES = ("capo_bench", "evals", "trainers")

KINDS: dict[str, dict[str, Any]] = {
    "majority": {"method": "capo", "critic": {"name": "noisy"}, "credit": {"vote": "majority"}},
    "union": {"method": "capo", "critic": {"name": "noisy"}, "credit": {"vote": "union"}},
    "apart": {"method": "capo", "critic": {"name": "noisy"}, "credit": {"vote": "union", "normalization": "apart"}},
    "embedded critic": {"method": "capo", "critic": {"name": "transformers"}, "credit": {"vote": "union"}},
    "endpoint": {
        "method": "capo",
        "critic": {"name": "openai", "model": "org/critic", "base_url": "http://127.0.0.1:1/v1"},
        "credit": {"vote": "union"},
    },
    "prm": {"method": "prm_min"},
    "grpo": {"method": "grpo_rule"},
    "start": {"method": "sft"},
    "published": {
        "method": "grpo_rule",
        "backbone": "qwen2.5-1.5b",
        "benchmark": "gsm8k",
        "cold_start": {"demonstrations": "gsm8k", "steps": 9},
        "evaluation": {"tasks": ["coins_test"]},
    },
}
ALL = frozenset(KINDS)
PUBLISHED = frozenset({"published"})
DRAWN = ALL - PUBLISHED
NONE: frozenset[str] = frozenset()
CAPO = frozenset({"majority", "union", "apart", "embedded critic", "endpoint"})
EMBEDDED, PRM = frozenset({"embedded critic"}), frozenset({"prm"})
LANGUAGE = frozenset({"embedded critic", "endpoint"})
TRAINED = ALL - {"start"}

Edit = Callable[[Path], None]


def replaced(file: str, old: str, new: str) -> Edit:
    def edit(tree: Path) -> None:
        text = (tree / file).read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r} any more: choose another edit"
        (tree / file).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def added(file: str, text: str) -> Edit:
    def edit(tree: Path) -> None:
        path = tree / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    return edit


def both(*edits: Edit) -> Edit:
    def edit(tree: Path) -> None:
        for one in edits:
            one(tree)

    return edit


def moved(file: str, function: str, to: str) -> Edit:
    """Move a function at the top of a file into a new file, and import it where it was."""

    def edit(tree: Path) -> None:
        path = tree / file
        text = path.read_text(encoding="utf-8")
        head, _, rest = text.partition(f"def {function}(")
        body, _, tail = rest.partition("\n\n\n")
        imports = head[head.index("from __future__") : head.index("\n\n\n")]
        (tree / to).write_text(f"{imports}\n\n\ndef {function}({body}\n", encoding="utf-8")
        module = to.removesuffix(".py").replace("/", ".")
        path.write_text(f"{head}from {module} import {function}\n\n\n{tail}", encoding="utf-8")

    return edit


CREDIT, CRITICS, COINS = "trainers/credit", "trainers/critics", "evals/coins/problems.py"
VOTES, METHODS, PROMPT = f"{CREDIT}/votes.py", "trainers/methods.py", f"{CREDIT}/prompt.py"
NOISY = frozenset({"majority", "union", "apart"})
EDITS: dict[str, tuple[Edit, frozenset[str]]] = {
    # A part more, in the file and in the table of its kind.
    "a vote more": (
        both(
            added(VOTES, "\n\nNONE = VotingRule(lambda flags, number: flags[0] * 0.0)\n"),
            replaced(VOTES, '"first_index")', '"first_index", "none")'),
        ),
        NONE,
    ),
    "a method more": (
        both(
            added(METHODS, '\n\nMINE = Method("mine", source="me", train="trainers.mine:train")\n'),
            replaced(METHODS, '"sft", ', '"mine", "sft", '),
        ),
        NONE,
    ),
    "a critic more": (
        replaced(f"{CRITICS}/__init__.py", '"exact":', '"mine": "trainers.critics.mine:Mine", "exact":'),
        NONE,
    ),
    "a benchmark more": (replaced("evals/benchmarks.py", '"coins":', '"mine": "evals.mine:MINE", "coins":'), NONE),
    "a metric more": (
        both(
            replaced("evals/metrics.py", "METRICS: dict", "def mine(samples):\n    return 0.0, 1.0\n\n\nMETRICS: dict"),
            replaced("evals/metrics.py", "        accuracy, known_right", "        mine, accuracy, known_right"),
        ),
        NONE,
    ),
    # Names, places, layout.
    "a private rename": (replaced(VOTES, "_compute_mean(", "_average("), NONE),
    "a renamed import": (
        both(
            replaced("trainers/sft.py", "Template, encode,", "Template, encode as written,"),
            replaced("trainers/sft.py", "= [encode(", "= [written("),
        ),
        NONE,
    ),
    "a moved function": (moved(VOTES, "majority", f"{CREDIT}/counting.py"), NONE),
    "a comment": (replaced(VOTES, "return np.asarray(2 *", "# why\n\n    return np.asarray(2 *"), NONE),
    "a docstring": (replaced("trainers/capo.py", '"""Train; see `train_policy`."""', '"""Train."""'), NONE),
    "an annotation": (replaced(VOTES, "def majority(flags: BoolArray", "def majority(flags: object"), NONE),
    # Plumbing.
    "how rollouts are written": (added("trainers/rollouts.py", "\nMORE = 1\n"), NONE),
    "what a step reports": (replaced("trainers/records.py", '"outcome": float', '"outcomes": float'), NONE),
    "callbacks": (replaced("trainers/callbacks.py", "time.perf_counter()", "time.monotonic()"), NONE),
    "how results are written": (replaced("evals/harness/results.py", "round(value, 3)", "round(value, 4)"), NONE),
    "how stages follow": (added("capo_bench/run/stages.py", "\nMORE = 1\n"), NONE),
    # Parts, and what they reach.
    "majority": (replaced(VOTES, "2 * flags.sum(axis=0) >=", "2 * flags.sum(axis=0) >"), frozenset({"majority"})),
    "a normalization": (
        replaced(f"{CREDIT}/normalization.py", "def apart(", "@final\ndef apart("),
        frozenset({"apart"}),
    ),
    "what CAPO's parts share": (replaced(VOTES, "if columns.size:", "if len(columns):"), CAPO),
    "the critique's prompt": (replaced(PROMPT, "Then end with one", "End with one"), LANGUAGE),
    "the critique's parser": (replaced(f"{CREDIT}/parse.py", "def parse(", "@final\ndef parse("), LANGUAGE),
    "language critics": (
        replaced(f"{CRITICS}/language.py", "def read_critique(", "@final\ndef read_critique("),
        LANGUAGE,
    ),
    "the embedded critic's lessons": (replaced(f"{CRITICS}/embedded.py", "(2, 2, 1, 1)", "(1, 1, 1, 1)"), EMBEDDED),
    "the noisy critic": (replaced(f"{CRITICS}/noisy.py", "class NoisyParams", "@final\nclass NoisyParams"), NOISY),
    "min credit": (replaced(f"{CREDIT}/prm_min.py", "def prm_min(", "@final\ndef prm_min("), PRM),
    "the embedded PRM's lessons": (replaced("trainers/prm/embedded.py", "prm/{config", "prm-{config"), PRM),
    "GRPO's settings": (replaced("trainers/policy.py", 'loss_type="grpo"', 'loss_type="dapo"'), TRAINED),
    "a budget's count": (replaced("trainers/budget.py", "class Meter:", "class Meter(object):"), TRAINED),
    "supervised training": (replaced("trainers/lessons.py", "min(20, steps // 5)", "min(10, steps // 5)"), ALL),
    "who writes the demonstrations": (
        replaced("trainers/cold_start.py", "config.belief, config.slip)", "0.5, config.slip)"),
        DRAWN,
    ),
    "what reads published problems": (
        replaced("evals/tasks/training_sets.py", "def texts(", "@final\n    def texts("),
        PUBLISHED,
    ),
    "what reads demonstrations": (
        replaced("evals/tasks/demonstrations.py", "def texts(", "@final\n    def texts("),
        PUBLISHED,
    ),
    "the embedded benchmark": (replaced(COINS, "def draw(", "@final\ndef draw("), ALL),
    "the verifier": (replaced("evals/verify/worker.py", "_FIRST, _STEP = 0.31", "_FIRST, _STEP = 0.32"), ALL),
    "accuracy": (replaced("evals/metrics.py", "def accuracy(", "@final\ndef accuracy("), ALL),
    "the backend": (replaced("evals/models/decode.py", "class Decoder:", "class Decoder(object):"), ALL),
    "another backend": (added("evals/models/vllm.py", "\nMORE = 1\n"), NONE),
}  # fmt: skip


@pytest.fixture(scope="module")
def unedited() -> dict[str, str]:
    """The ids of a trial of each kind, by the program as it is."""
    forget()  # another test may have read published problems from a folder of its own
    return {kind: hash_plain(identify_trial(TrialConfig.model_validate(settings))) for kind, settings in KINDS.items()}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the program, whose identities are those of its sources."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(evals.definitions, "read_installed", lambda: current[-1])
    monkeypatch.setattr(tasks, "read_installed", lambda: current[-1])
    yield tmp_path
    forget()


current: list[Definitions] = []


def forget() -> None:
    for kept in (identity._identify_shipped_task, identity._identify_registered, identity.judge_key):
        kept.cache_clear()
    code._merge_definitions.cache_clear()


def ids(tree: Path) -> dict[str, str]:
    """The ids of a trial of each kind, by the sources of a tree."""
    forget()
    current[:] = [Definitions(Modules(tree))]
    return {kind: hash_plain(identify_trial(TrialConfig.model_validate(settings))) for kind, settings in KINDS.items()}


@pytest.mark.parametrize("name", EDITS)
def test_which_trials_are_new_after_an_edit(name: str, tree: Path, unedited: dict[str, str]) -> None:
    edit, new = EDITS[name]
    edit(tree)
    after = ids(tree)
    assert {kind for kind in KINDS if after[kind] != unedited[kind]} == new


def test_a_copy_of_the_program_has_the_same_trials(tree: Path, unedited: dict[str, str]) -> None:
    assert ids(tree) == unedited


@pytest.mark.parametrize("stage", plumbing.STAGES)
def test_a_raised_version_of_a_stage_makes_every_trial_new(
    stage: str, monkeypatch: pytest.MonkeyPatch, unedited: dict[str, str]
) -> None:
    raised = plumbing.Stage(plumbing.STAGES[stage].version + 1, ())
    monkeypatch.setitem(plumbing.STAGES, stage, raised)
    now = {kind: hash_plain(identify_trial(TrialConfig.model_validate(given))) for kind, given in KINDS.items()}
    assert all(now[kind] != unedited[kind] for kind in KINDS)


def test_all_plumbing_is_there() -> None:
    modules = {module for stage in plumbing.STAGES.values() for module in stage.modules}
    assert {*evals.definitions.hash_plumbing()} == modules
    assert all(Modules().exists(module) for module in plumbing.TABLES)


# -- models in folders

FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
         "generation_config.json", "chat_template.jinja", "vocab.json", "merges.txt")  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model in a folder, which is also the backbone `mine`."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("{}")
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones" / "mine.yaml").write_text(f"source: hub\nmodel: {folder}\ntemplate: chat\n")
    monkeypatch.setenv("CAPO_BENCH_BACKBONES", str(tmp_path / "backbones"))
    yield folder
    identity._identify_backbone.cache_clear()


def ids_of_folders(folder: Path) -> dict[str, str]:
    """The ids of trials that use a folder as backbone, as critic and as process reward model."""
    identity._identify_backbone.cache_clear()
    kinds: dict[str, dict[str, Any]] = {
        "backbone": {"method": "grpo_rule", "backbone": "mine", "cold_start": None},
        "critic": {"method": "capo", "critic": {"name": "transformers", "model": str(folder)}},
        "prm": {"method": "prm_sum", "prm": {"model": str(folder)}},
    }
    return {kind: hash_plain(identify_trial(TrialConfig.model_validate(given))) for kind, given in kinds.items()}


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_shapes_what_a_model_reads_or_says_makes_trials_new(name: str, model: Path) -> None:
    before = ids_of_folders(model)
    (model / name).write_text("{} ")
    assert all(ids_of_folders(model)[kind] != before[kind] for kind in before)


def test_what_else_lies_in_a_folder_and_where_it_is_does_not_matter(model: Path, tmp_path: Path) -> None:
    before = ids_of_folders(model)
    (model / "README.md").write_text("a model")
    (model / "trainer_state.json").write_text("{}")
    assert ids_of_folders(model) == before
    elsewhere = model.rename(tmp_path / "elsewhere")
    (tmp_path / "backbones" / "mine.yaml").write_text(f"source: hub\nmodel: {elsewhere}\ntemplate: chat\n")
    assert ids_of_folders(elsewhere) == before


def test_an_adapter_in_a_folder_is_its_weights_and_its_base(model: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(model, base)
    (model / "adapter_model.safetensors").write_bytes(b"adapter")
    (model / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": str(base)}))
    before = ids_of_folders(model)
    (model / "adapter_model.safetensors").write_bytes(b"another")
    another = ids_of_folders(model)
    (base / "chat_template.jinja").write_text("another")
    rebased = ids_of_folders(model)
    assert all(len({before[kind], another[kind], rebased[kind]}) == 3 for kind in before)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "adapter_config.json cannot be read (Expecting property name"),
        ("[]", "adapter_config.json holds no JSON object; write the adapter's settings again"),
        (
            '{"base_model_name_or_path": "MODEL"}',
            "adapter_config.json names itself as its base; name a base model there",
        ),
    ],
)
def test_an_adapter_that_cannot_be_known_is_an_error_of_the_setting_that_names_it(
    model: Path, tmp_path: Path, text: str, rule: str
) -> None:
    (model / "adapter_model.safetensors").write_bytes(b"adapter")
    (model / "adapter_config.json").write_text(text.replace("MODEL", str(model)))
    study = STUDY.replace(
        "method: capo, critic: {name: noisy}", "backbone: mine, cold_start: null, critic: {name: noisy}"
    )
    (tmp_path / "own.yaml").write_text(study.replace("twice", "union"))
    done = python(tmp_path / "site", "-m", "capo_bench", "validate", "own.yaml")
    assert done.returncode == 2, done.stderr
    assert f"own.yaml:5: variant 'majority': backbone {model}/{rule}" in done.stderr
    assert "Traceback" not in done.stderr


# -- somebody else's package, installed, in processes of their own

PLUG_IN = {
    "acme/__init__.py": "",
    "acme/votes.py": """
import numpy as np

from acme.helpers import share


from trainers.credit.votes import VotingRule


def twice(flags, number):
    return np.asarray(share(flags) > 0.5, dtype=np.float64)


def never(flags, number):
    return flags[0] * 0.0


TWICE = VotingRule(twice)
NEVER = VotingRule(never)
""",
    "acme/helpers.py": "def share(flags):\n    return flags.mean(axis=0)\n",
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/top_level.txt": "acme\n",
    "acme-1.0.dist-info/entry_points.txt": "[capo_bench.votes]\ntwice = acme.votes:TWICE\nnever = acme.votes:NEVER\n",
}  # fmt: skip
ID_OF = """
import json
from capo_bench.study.identity import hash_plain, identify_trial
from trainers.config import TrialConfig

for vote in ("twice", "majority"):
    settings = {"method": "capo", "critic": {"name": "noisy"}, "credit": {"vote": vote}}
    print(hash_plain(identify_trial(TrialConfig.model_validate(settings))))
"""
STUDY = """\
name: own
question: Does a vote of somebody else's count?
baseline: majority
metrics: [coins_test/accuracy]
base: {method: capo, critic: {name: noisy}}
include:
  - {name: majority, set: {credit.vote: majority}}
  - name: twice
    set:
      credit.vote: twice
seeds: [0]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in PLUG_IN.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "site"


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(site), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=env, cwd=site.parent, capture_output=True, text=True, check=False
    )


def own_ids(site: Path) -> tuple[str, str]:
    """The ids of a trial with the package's vote and of one with ours."""
    done = python(site, "-c", ID_OF)
    assert done.returncode == 0, done.stderr
    twice, majority = done.stdout.split()
    return twice, majority


def test_a_plug_in_is_known_by_what_its_part_reaches(site: Path) -> None:
    first = own_ids(site)
    replaced("acme/helpers.py", "mean(axis=0)", "mean(axis=0) ** 2")(site)
    helper = own_ids(site)
    assert helper[0] != first[0]
    assert helper[1] == first[1]
    replaced("acme/votes.py", "flags[0] * 0.0", "flags[0] * 1.0")(site)  # a sibling
    replaced("acme/helpers.py", "def share", "# why\ndef share")(site)
    shutil.rmtree(site / "acme-1.0.dist-info")
    shutil.copytree(site.parent / "site", site.parent / "other")
    for name in ("METADATA", "top_level.txt", "entry_points.txt"):
        path = site / "acme-2.0.dist-info" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(PLUG_IN[f"acme-1.0.dist-info/{name}"].replace("1.0", "2.0"))
    assert own_ids(site) == helper, "nor does its version matter, where its source is known"


def test_a_plug_in_without_source_is_refused_where_the_study_names_it(site: Path) -> None:
    (site.parent / "own.yaml").write_text(STUDY)
    py_compile.compile(str(site / "acme" / "votes.py"), str(site / "acme" / "votes.pyc"))
    (site / "acme" / "votes.py").unlink()
    done = python(site, "-m", "capo_bench", "validate", "own.yaml")
    assert done.returncode == 2
    assert (
        "own.yaml:10: variant 'twice': vote acme.votes:TWICE has no source code (votes.pyc of acme.votes is there)"
        in (done.stderr)
    )
    assert "install the package with its .py files" in done.stderr
    assert "Traceback" not in done.stderr
