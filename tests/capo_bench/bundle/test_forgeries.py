"""Ways to forge a finished study: checksums and manifest made right again, each is found and named all the same."""

# ruff: noqa: E501 - a table

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundled import Files, named, pack, read

from capo_bench.store.ledger import _encode_line
from capo_bench.verify.study import verify_bundle

Forge = Callable[[Files], str]

FOLDER, LEDGER = "studies/tiny/profiles/quick", "studies/tiny/ledger.jsonl"
PLAN, STUDY = f"{FOLDER}/plan.json", f"{FOLDER}/study.yaml"
SAMPLES, GENERATIONS, RESULT, TASK = "samples.jsonl", "generations.jsonl", "result.json", "task.json"
STEPS, FIRST = "/steps.jsonl", "00001.0.jsonl.gz"


@contextmanager
def json_file(files: Files, name: str) -> Iterator[Any]:
    value = json.loads(files[name])
    yield value
    files[name] = json.dumps(value).encode()


@contextmanager
def json_lines(files: Files, name: str) -> Iterator[list[Any]]:
    packed = name.endswith(".gz")
    rows = [json.loads(row) for row in (gzip.decompress(files[name]) if packed else files[name]).splitlines()]
    yield rows
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files[name] = gzip.compress(data, mtime=0) if packed else data


def of_rows(ending: str, change: Callable[[Any], object], where: str, variant: str = "majority") -> Forge:
    """Return a forgery of every row of a file of a trial."""

    def forge(files: Files) -> str:
        with json_lines(files, name := named(files, ending, variant)) as rows:
            for row in rows:
                change(row)
        return where.replace("FILE", name)

    return forge


def of_object(ending: str, change: Callable[[Any], object], where: str, variant: str = "majority") -> Forge:
    def forge(files: Files) -> str:
        name = ending if ending in files else named(files, ending, variant)
        with json_file(files, name) as value:
            change(value)
        return where.replace("FILE", name)

    return forge


def of_text(name: str, pattern: bytes, new: bytes, where: str) -> Forge:
    def forge(files: Files) -> str:
        files[name], count = re.subn(pattern, new, files[name], count=1)
        assert count
        return where

    return forge


def of_ledger(change: Callable[[list[dict[str, Any]]], object], where: str) -> Forge:
    def forge(files: Files) -> str:
        records = [json.loads(row) for row in files[LEDGER].splitlines()]
        for record in records:
            del record["check"]
        change(records)
        files[LEDGER] = b"".join(map(_encode_line, records))
        return where

    return forge


def flip_everywhere(files: Files) -> str:
    """Claim every sample right with a timeout, and make result and metrics agree."""
    for ending, change in ((SAMPLES, lambda sample: sample.update(correct=True, status="timeout")),):
        where = of_rows(ending, change, "FILE:1 correct, of a verdict that a limit ended")(files)
    of_object(RESULT, lambda value: value["metrics"]["accuracy"].update(value=1.0), "")(files)
    of_object("/metrics.json", lambda value: value["metrics"].update({"coins_test/accuracy": 1.0}), "")(files)
    return where


def abstain_everywhere(files: Files) -> str:
    return of_rows(SAMPLES, lambda sample: sample.update(correct=None, status="timeout"), "FILE:1 status")(files)


def drop_seed(files: Files) -> str:
    """Leave a variant's only trial out of the plan and the bundle: its seed was a bad one."""
    with json_file(files, PLAN) as plan:
        (lost,) = (trial["id"] for trial in plan["trials"] if trial["variant"] == "majority")
        plan["trials"] = [trial for trial in plan["trials"] if trial["id"] != lost]
    for name in [name for name in files if name.startswith(f"trials/{lost}/")]:
        del files[name]
    return "plan.json: variants and seeds"


def drop_seed_from_the_study_too(files: Files) -> str:
    drop_seed(files)
    of_text(STUDY, rb"  - \{name: majority[^\n]*\n", b"", "")(files)
    with json_file(files, PLAN) as plan:
        plan["variants"] = [variant for variant in plan["variants"] if variant["name"] != "majority"]
    return f"{LEDGER}: trials of the last run that the plan lacks"


def exchange_names(files: Files) -> str:
    exchange = {"majority": "grpo_rule", "grpo_rule": "majority"}
    with json_file(files, PLAN) as plan:
        for one in plan["variants"]:
            one["name"] = exchange[one["name"]]
        for trial in plan["trials"]:
            trial["variant"] = exchange[trial["variant"]]
    return "plan.json: variants"


def exchange_names_in_the_study_too(files: Files) -> str:
    exchange_names(files)
    text = files[STUDY].decode().replace("name: majority", "name: X").replace("name: grpo_rule", "name: majority")
    files[STUDY] = text.replace("name: X", "name: grpo_rule").encode()
    return f"{LEDGER}: "


def exchange_metrics(files: Files) -> str:
    with json_file(files, PLAN) as plan:
        plan["metrics"].reverse()
    return "plan.json: metrics"


def exchange_metrics_in_the_study_too(files: Files) -> str:
    exchange_metrics(files)
    of_text(STUDY, rb"metrics: \[(.*), (.*)\]", rb"metrics: [\2, \1]", "")(files)
    return f"{LEDGER}: last run metrics"


def move_rollouts(files: Files) -> str:
    one, other = (named(files, FIRST, variant) for variant in ("majority", "grpo_rule"))
    files[one], files[other] = files[other], files[one]
    return f"{one}:1 number of critiques"


def lose_a_step(files: Files) -> str:
    with json_lines(files, name := named(files, STEPS)) as rows:
        rows.pop()
    del files[named(files, "00002.0.jsonl.gz")]
    return f"{name}: steps"


def lose_rollouts(files: Files) -> str:
    del files[name := named(files, "00002.0.jsonl.gz")]
    return f"{name.rpartition('/')[0]}: steps"


def other_weights(files: Files) -> str:
    one, other = (named(files, "model.safetensors", variant) for variant in ("majority", "grpo_rule"))
    files[one] = files[other]
    return f"{named(files, '/provenance.json')}: fingerprints.final_weights"


def hide_the_drawing(files: Files) -> str:
    with json_file(files, name := named(files, TASK)) as task:
        task["source"] = "somebody/coins (test) at main"
        for asked in task["asked"]:
            asked["problem"]["answer"] = "1"
    return f"{name}: problem 0"


def another_file(files: Files) -> str:
    name = named(files, "/config.json").replace("config.json", "notes.json")
    files[name] = b"{}"
    return name


def another_trial(files: Files) -> str:
    one = named(files, "/config.json").split("/")[1]
    files |= {name.replace(one, "0" * 12): data for name, data in files.items() if name.startswith(f"trials/{one}/")}
    return "trials: finished ones of the plan"


FIRST_STEP = "FILE: step 1 "

FORGERIES: dict[str, tuple[str, Forge]] = {
    # samples, statuses
    "a verdict": ("samples", of_rows(SAMPLES, lambda row: row.update(correct=True), "FILE:1 correct")),
    "right by timeout": ("samples", flip_everywhere),
    "left out by timeout": ("samples", abstain_everywhere),
    "right by crash": ("samples", of_rows(SAMPLES, lambda row: row.update(correct=True, status="crash"), "FILE:1 correct")),
    "a status": ("samples", of_rows(SAMPLES, lambda row: row.update(status="right"), "FILE:1 status")),
    "an answer": ("samples", of_rows(SAMPLES, lambda row: row.update(answer="9"), "FILE:1 answer")),
    "fewer wrong steps": ("samples", of_rows(SAMPLES, lambda row: row.update(wrong_steps=[]), "FILE:1 wrong_steps")),
    "more steps": ("samples", of_rows(SAMPLES, lambda row: row.update(steps=9), "FILE:1 steps")),
    "a completion of a sample": ("samples", of_rows(SAMPLES, lambda row: row.update(completion="9"), "FILE:1 completion")),
    "lengths of samples": ("samples", of_rows(SAMPLES, lambda row: row.update(tokens=1), "FILE:1 tokens")),
    "lengths of completions": ("samples", of_rows(GENERATIONS, lambda row: row.update(tokens=1), "FILE:1 tokens")),
    "lengths beyond the limit": ("samples", of_rows(GENERATIONS, lambda row: row.update(tokens=99), "FILE:1 tokens")),
    "cut or not": ("samples", of_rows(GENERATIONS, lambda row: row.update(truncated=True, tokens=3), "FILE:1 tokens")),
    # problems, versions, settings of the evaluation
    "reference answers behind a hub": ("problems", hide_the_drawing),
    "a source": ("problems", of_object(TASK, lambda v: v.update(source="a hub"), "FILE: source")),
    "a prompt": ("problems", of_object(TASK, lambda v: v["asked"][0]["problem"].update(prompt="1 + 1?"), "FILE: problem 0")),
    "a form": ("problems", of_object(TASK, lambda v: v["asked"][0]["problem"]["form"].update(several=True), "FILE: problem 0")),
    "no checker": ("identities", of_object(TASK, lambda v: v.update(checker=None), "FILE: checker")),
    "a temperature": ("identities", of_object(TASK, lambda v: v["identity"]["sampling"].update(temperature=0.1), "FILE: sampling.temperature")),
    "a limit": ("identities", of_object(TASK, lambda v: v["identity"]["sampling"].update(max_tokens=96), "FILE: sampling.max_tokens")),
    "an evaluation's seed": ("identities", of_object(TASK, lambda v: v["identity"].update(seed=1), "FILE: seed")),
    "another verifier": ("results", of_object(RESULT, lambda v: v["identity"].update(verifier="0"), "FILE: identity verifier")),
    "another segmenter": ("results", of_object(RESULT, lambda v: v["identity"].update(segmenter="lines"), "FILE: identity segmenter")),
    "a metric of a result": ("results", of_object(RESULT, lambda v: v["metrics"]["accuracy"].update(value=1.0), "FILE: metrics.accuracy.value")),
    "an interval": ("results", of_object(RESULT, lambda v: v["metrics"]["accuracy"].update(high=0.01), "FILE: metrics.accuracy.high")),
    "counts": ("results", of_object(RESULT, lambda v: v.update(counts={"right": 72}), "FILE: counts.right")),
    # metrics and costs
    "a metric": ("metrics", of_object("/metrics.json", lambda v: v["metrics"].update({"coins_test/accuracy": 1.0}), "FILE: coins_test/accuracy")),
    "a metric more": ("metrics", of_object("/metrics.json", lambda v: v["metrics"].update({"x/y": 1.0}), "FILE: x/y")),
    "tokens in all": ("costs", of_object("/metrics.json", lambda v: v["cost"].update(total_tokens=1.0), "total_tokens")),
    "operations in all": ("costs", of_object("/metrics.json", lambda v: v["cost"].update(train_flops=1.0), "train_flops")),
    "seconds in all": ("costs", of_object("/metrics.json", lambda v: v["cost"].update(train_seconds=1.0), "train_seconds")),
    # steps of training, budgets
    "tokens of steps": ("steps", of_rows(STEPS, lambda row: row.update(total_tokens=1.0), FIRST_STEP + "total_tokens")),
    "operations of steps": ("steps", of_rows(STEPS, lambda row: row.update(train_flops=1.0), FIRST_STEP + "train_flops")),
    "no operations": ("steps", of_rows(STEPS, lambda row: row.pop("train_flops"), FIRST_STEP + "train_flops")),
    "a smaller policy": ("steps", of_rows(STEPS, lambda row: row.update(policy_parameters=10.0), "FILE: policy_parameters")),
    "outcomes of steps": ("steps", of_rows(STEPS, lambda row: row.update(outcome=1.0), FIRST_STEP + "outcome")),
    "a signal": ("steps", of_rows(STEPS, lambda row: row.update(groups_without_outcome_signal=0.0), FIRST_STEP + "groups_without")),
    "planned steps": ("steps", of_rows(STEPS, lambda row: row.update(of=9), FIRST_STEP + "of")),
    "a step less": ("steps", lose_a_step),
    "abstentions": ("credit", of_rows(STEPS, lambda row: row.update(abstained=3.0), "steps.jsonl")),
    "no flags recorded": ("credit", of_rows(STEPS, lambda row: row.pop("flagged_step_rate"), "steps.jsonl")),
    "penalties": ("credit", of_rows(STEPS, lambda row: row.update(penalised_tokens=0.0), "steps.jsonl")),
    # rollouts and critiques
    "outcomes": ("rollouts", of_rows(FIRST, lambda row: row.update(outcome=1.0), "FILE:1 outcome")),
    "no outcomes": ("rollouts", of_rows(FIRST, lambda row: row.update(outcome=None), "FILE:1 outcome")),
    "truth": ("rollouts", of_rows(FIRST, lambda row: row.update(truth=[]), "FILE:1 wrong steps")),
    "texts": ("rollouts", of_rows(FIRST, lambda row: row.update(steps=["x"] * len(row["steps"])), "FILE:1 steps")),
    "lengths of prompts": ("rollouts", of_rows(FIRST, lambda row: row.update(prompt_tokens=1), "FILE:1 prompt_tokens")),
    "rollouts of another": ("critiques", move_rollouts),
    "no rollouts": ("rollouts", lose_rollouts),
    "verdicts": ("critiques", of_rows(FIRST, lambda row: [c.update(wrong=[]) for c in row["critiques"]], "FILE")),
    "a critique less": ("critiques", of_rows(FIRST, lambda row: row["critiques"].pop(), "FILE:1 number of critiques")),
    "silent critics": ("critiques", of_rows(FIRST, lambda row: [(c.pop("wrong"), c.update(abstained="error")) for c in row["critiques"]], "FILE:1 critique 0")),
    # plan, study, ledger, names, baselines, primary metric
    "a seed left out": ("plan", drop_seed),
    "a seed left out of the study too": ("plan", drop_seed_from_the_study_too),
    "names": ("plan", exchange_names),
    "names in the study too": ("plan", exchange_names_in_the_study_too),
    "the primary metric": ("plan", exchange_metrics),
    "the primary metric in the study too": ("plan", exchange_metrics_in_the_study_too),
    "the baseline": ("plan", of_object(PLAN, lambda v: v.update(baseline="majority"), "plan.json: baseline")),
    "the question": ("plan", of_object(PLAN, lambda v: v.update(question="Is it good?"), "plan.json: question")),
    "an override": ("plan", of_object(PLAN, lambda v: v["variants"][0]["overrides"].update({"credit.vote": "union"}), "plan.json: variants")),
    "a profile": ("plan", of_object(PLAN, lambda v: v.update(profile="full"), "bundle.json: profile")),
    "settings of the study": ("plan", of_text(STUDY, rb"critiques: 2", b"critiques: 4", "plan.json: ")),
    "no ledger of a run": ("plan", of_ledger(list.clear, LEDGER)),
    "a trial that no run had": ("plan", of_ledger(lambda rows: rows[0]["plan"].pop(), f"{LEDGER}: trials of the plan that no run had")),
    "a seed of the ledger": ("plan", of_ledger(lambda rows: [row.update(seed=7) for row in rows if "seed" in row], LEDGER)),
    "a line of the ledger": ("files", of_text(LEDGER, rb'"seconds": \d+', b'"seconds": 123456', "ledger.jsonl:3")),
    # identities and provenance
    "a setting": ("identities", of_object("/config.json", lambda v: v["config"]["train"].update(learning_rate=1.0), "FILE: settings")),
    "an identity": ("identities", of_object("/config.json", lambda v: v["identity"]["training"]["train"].update(steps=9), "FILE: i")),
    "a claim beside the settings": ("identities", of_object("/config.json", lambda v: v.update(award="best"), "FILE: parts")),
    "a claim beside the training": ("identities", of_object("/training.json", lambda v: v.update(award="best"), "FILE: parts")),
    "another micro-batch before": ("identities", of_object("/training.json", lambda v: v["micro_batches"][-1].update(micro_batch=1), "FILE: last")),
    "a trial's seed": ("identities", of_object("/config.json", lambda v: v.update(seed=9), "FILE: seed")),
    "weights": ("identities", other_weights),
    "a verifier of provenance": ("identities", of_object("/provenance.json", lambda v: v.update(verifier="0"), "FILE: verifier")),
    "packages": ("identities", of_object("/provenance.json", lambda v: v["packages"].update(torch="9"), "FILE: packages.torch")),
    "a start": ("identities", of_object("/provenance.json", lambda v: v["fingerprints"].update(cold_start="0" * 12), "FILE: fingerprints.cold_start")),
    "a benchmark": ("identities", of_object("/provenance.json", lambda v: v["fingerprints"].update(benchmark="0"), "FILE: fingerprints.benchmark")),
    "contamination": ("identities", of_object("/provenance.json", lambda v: v.update(contamination=[{}]), "FILE: contamination")),
    "another's training": ("identities", of_object("/stages.json", lambda v: v.update(training="0" * 12), "FILE: training")),
    "costs of teaching": ("identities", of_object("/provenance.json", lambda v: v["taught"]["cold_start"].update(tokens=1.0), "FILE: taught cold_start tokens")),
    "a file beside": ("files", another_file),
    "a trial that the plan lacks": ("files", another_trial),
}  # fmt: skip

OF_THE_REPORT: dict[str, tuple[str, Forge]] = {
    "a sentence": ("report", of_text(f"{FOLDER}/report/report.md", rb"2 of 2 trials", b"3 of 2 trials", "report/report.md")),
    "a cell of a table": ("report", of_text(f"{FOLDER}/report/tables/01-coins-test-accuracy.csv", rb"\d", b"77", "report/tables/01")),
    "a cell of LaTeX": ("report", of_text(f"{FOLDER}/report/tables/01-coins-test-accuracy.tex", rb"\d", b"77", "report/tables/01")),
}  # fmt: skip


def test_there_are_many() -> None:
    assert len(FORGERIES) + len(OF_THE_REPORT) >= 60


@pytest.fixture(scope="module")
def whole(study: Path) -> Files:
    """The files of a bundle with weights, in which nothing is left that cannot be verified."""
    return read(study / "whole.tar.gz")


FAMILIES = {
    "evaluation/": {"evaluation"}, "completions/": {"evaluation"}, "steps.jsonl": {"training"}, "rollouts/": {"training"},
    "metrics.json": {"evaluation", "training"}, "provenance.json": {"provenance"}, "config.json": {"settings"},
}  # fmt: skip


def _batches(files: Files) -> list[list[str]]:
    """Return forgeries of files that nothing derives from one another together, the others one by one."""
    batches: list[tuple[set[str], list[str]]] = []
    for name, (_, forge) in FORGERIES.items():
        forged = dict(files)
        forge(forged)
        changed = {path for path in files | forged if forged.get(path) != files.get(path)}
        kinds = [
            kinds
            for path in changed
            for part, kinds in FAMILIES.items()
            if not path.startswith("studies/") and part in path
        ]
        families = set().union(*kinds) if len(changed) == len(kinds) else {*"*"}.union(*FAMILIES.values())
        for taken, names in batches:
            if not families & taken:
                taken.update(families)
                names.append(name)
                break
        else:
            batches.append((families, [name]))
    return [names for _, names in batches]


def test_each_is_found_and_named(whole: Files, tmp_path: Path) -> None:
    # Without the report, which takes long to build: what it would show differs, too.
    files = {name: data for name, data in whole.items() if "/report/" not in name}
    missed = {}
    for names in _batches(files):
        forged = dict(files)
        places = {name: FORGERIES[name][1](forged) for name in names}
        found = verify_bundle(pack(tmp_path / "forged.tar.gz", forged))
        for name, place in places.items():
            mismatches = found.checks[FORGERIES[name][0]].mismatches  # type: ignore[index]
            if not any(place in mismatch.where for mismatch in mismatches):
                missed[name] = place, [mismatch.where for mismatch in mismatches[:5]]
    assert missed == {}


def test_each_is_found_and_named_in_the_report(whole: Files, tmp_path: Path) -> None:
    files = dict(whole)
    places = {name: (check, forge(files)) for name, (check, forge) in OF_THE_REPORT.items()}
    found = verify_bundle(pack(tmp_path / "forged.tar.gz", files))
    for name, (check, place) in places.items():
        assert any(place in mismatch.where for mismatch in found.checks[check].mismatches), name  # type: ignore[index]


def test_nothing_is_left_unverified_where_weights_are_there(whole: Files, study: Path) -> None:
    found = verify_bundle(study / "whole.tar.gz")
    assert found.passed
    assert found.unverified == 0
    assert verify_bundle(study / "tiny.tar.gz").unverified > 0
