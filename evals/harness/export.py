"""Export evaluated tasks in lm-eval's format: ``results_<date>.json`` and ``samples_<task>_<date>.jsonl`` of one model.

The layout is that of lm-eval's `EvaluationTracker` and its `result_schema`. lm-eval decodes a task in one way. If a
task has greedy and sampled answers, the filter ``all`` contains the samples, as in lm-eval, and the filter ``greedy``
the greedy answers. lm-eval has no field for the identity of a result and the interval of a metric, so they are written
to the ``metadata`` of the task's config.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from evals.files import write_atomic
from evals.harness.folder import (
    GENERATIONS,
    Asked,
    Generation,
    TaskRecord,
    keep_latest,
    read_samples,
    read_task,
    read_whole_batches,
)
from evals.harness.identity import EvaluationError, explain_incomparable, list_completions
from evals.harness.results import Result, read_result
from evals.metrics import AT_K, SAMPLED, Decoding, is_length, score_problems, split_at_k
from evals.tasks import PREFIX

_RANKED = {"accuracy": "acc", "accuracy_norm": "acc_norm"}
_RIGHT = {"accuracy", "acc", "acc_norm"}


def export(folders: Sequence[Path], out: Path, *, model: str, git_hash: str | None = None) -> Path:
    """Write evaluated tasks of one model in lm-eval's format; the same evaluation always gives the same files.

    Returns:
        The path of ``results_<date>.json``.

    Raises:
        EvaluationError: There is no folder, a folder has no result, or the folders belong to different models.
    """
    tasks = [_Task(read_task(folder), read_result(folder), folder) for folder in folders]
    _check_one_model(tasks)
    started = min(task.record.started for task in tasks)
    date = datetime.fromtimestamp(started).isoformat().replace(":", "-")
    home = out / _make_file_name(model)
    hashes = {}
    for task in tasks:
        lines = list(_build_samples(task))
        once = [line for line in lines if line["filter"] == lines[0]["filter"]]
        hashes[task.name] = _hash(
            "".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in once)
        )
        write_atomic(home / f"samples_{task.name}_{date}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    results = {
        **_build_results(tasks),
        **_build_run(tasks, model),
        "git_hash": git_hash,
        "date": started,
        "task_hashes": hashes,
    }
    path = home / f"results_{date}.json"
    write_atomic(path, json.dumps(results, indent=2))
    return path


@dataclass(frozen=True)
class _Task:
    record: TaskRecord
    result: Result
    folder: Path

    @property
    def name(self) -> str:
        """Name of the task in lm-eval."""
        return PREFIX + self.result.task

    @property
    def ranked(self) -> bool:
        """Whether options were ranked by log-likelihood."""
        return bool(self.record.identity["output"] == "choose")

    @property
    def filters(self) -> dict[str, Decoding]:
        """Name of each lm-eval filter to the decoding whose responses it keeps."""
        if self.ranked:
            return {"none": "greedy"}
        if not self.record.identity["samples"]:
            return {"all": "greedy"}
        return {"all": "sampled", **({"greedy": "greedy"} if self.record.identity["greedy"] else {})}

    @cached_property
    def metrics(self) -> dict[tuple[str, str], str]:
        """(lm-eval's name of a metric, filter) to this package's name of the metric."""
        of = {decoding: name for name, decoding in self.filters.items()}
        return {
            (self._name(ours), of[decoding]): ours
            for ours in self.result.metrics
            if (decoding := _find_decoding(ours)) in of
        }

    def _name(self, ours: str) -> str:
        if self.ranked:
            return _RANKED.get(ours, ours)
        # lm-eval's accuracy of several responses is their mean.
        return "accuracy" if ours.startswith("avg_at_") else ours.removeprefix(SAMPLED)

    def settings(self, decoding: Decoding) -> dict[str, Any] | None:
        """Return the settings of the responses, with lm-eval's keys."""
        sampling, drawn = self.record.identity["sampling"], decoding == "sampled"
        return None if self.ranked else {
            "until": [],
            "do_sample": drawn,
            "temperature": sampling["temperature"] if drawn else 0.0,
            "top_p": sampling["top_p"] if drawn else 1.0,
            "max_gen_toks": sampling["max_tokens"],
        }  # fmt: skip


def _find_decoding(metric: str) -> Decoding:
    return "sampled" if metric.startswith((SAMPLED, *AT_K)) else "greedy"


def _check_one_model(tasks: Sequence[_Task]) -> None:
    if not tasks:
        raise EvaluationError("there is nothing to export; name the folder of an evaluated task")
    first, *others = tasks
    for other in others:
        if other.record.identity["model"] != first.record.identity["model"]:
            parts = explain_incomparable(
                {"model": first.record.identity["model"]}, {"model": other.record.identity["model"]}
            )
            shown = "; ".join(map(str, parts)) or "the weights"
            raise EvaluationError(
                f"{first.folder} and {other.folder} are of different models ({shown}); export them one by one"
            )


def _build_results(tasks: Sequence[_Task]) -> dict[str, Any]:
    """Return the part of the results that lm-eval's `evaluate` returns."""
    return {
        "results": {task.name: _build_values(task) for task in tasks},
        "group_subtasks": {},
        "configs": {task.name: _build_config(task) for task in tasks},
        "versions": {task.name: _read_version(task) for task in tasks},
        "n-shot": {task.name: 0 for task in tasks},
        "higher_is_better": {
            task.name: {name: None if is_length(name) else _is_higher_better(name) for name, _ in task.metrics}
            for task in tasks
        },
        "n-samples": {
            task.name: {"original": len(task.record.asked), "effective": len(task.record.asked)} for task in tasks
        },
    }


def _is_higher_better(name: str) -> bool:
    return name in _RIGHT or split_at_k(name)[1] > 0


def _build_values(task: _Task) -> dict[str, Any]:
    values: dict[str, Any] = {"name": task.name, "alias": task.name, "sample_len": len(task.record.asked)}
    for (name, kept), ours in task.metrics.items():
        estimate = task.result.metrics[ours]
        values[f"{name},{kept}"] = estimate.value
        values[f"{name}_stderr,{kept}"] = "N/A" if estimate.stderr is None else estimate.stderr
    return values


def _build_config(task: _Task) -> dict[str, Any]:
    return {
        "task": task.name,
        "output_type": "multiple_choice" if task.ranked else "generate_until",
        "generation_kwargs": task.settings(next(iter(task.filters.values()))),
        "repeats": task.record.identity["samples"] or 1,
        "num_fewshot": 0,
        "metric_list": [{"metric": name} for name in dict.fromkeys(name for name, _ in task.metrics)],
        "metadata": {
            "version": _read_version(task),
            "source": task.record.source,
            "identity": task.result.identity,
            "estimates": {
                f"{name},{kept}": asdict(task.result.metrics[ours]) for (name, kept), ours in task.metrics.items()
            },
            "cost": task.result.cost,
        },
    }


def _read_version(task: _Task) -> str | float:
    version = str(task.record.identity["version"])
    return float(version) if re.fullmatch(r"\d+\.\d+", version) else int(version) if version.isdecimal() else version


def _build_run(tasks: Sequence[_Task], model: str) -> dict[str, Any]:
    """Return the part of the results that lm-eval's `simple_evaluate` and its tracker add."""
    identity = tasks[0].record.identity
    settings, seed = identity["model"], identity["seed"]
    packages = settings.get("packages", {})
    seconds = sum(task.result.cost["generate_seconds"] + task.result.cost["score_seconds"] for task in tasks)
    return {
        "config": {
            "model": settings["backend"],
            "model_args": {"pretrained": model},
            **{f"model_{key}": settings[key] for key in ("dtype", "revision") if settings.get(key) is not None},
            "batch_size": None,
            "batch_sizes": [],
            "device": None,
            "use_cache": None,
            "limit": None,
            "bootstrap_iters": 0,
            "gen_kwargs": None,
            "random_seed": seed,
            "numpy_seed": seed,
            "torch_seed": seed,
            "fewshot_seed": seed,
        },
        "lm_eval_version": packages.get("lm_eval"),
        "transformers_version": packages.get("transformers", "N/A"),
        "model_source": settings["backend"],
        "model_name": model,
        "model_name_sanitized": _make_file_name(model),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(seconds),
    }


def _build_samples(task: _Task) -> Iterator[dict[str, Any]]:
    """Yield the lines of ``samples_<task>.jsonl``, one per problem and filter."""
    generations = keep_latest(read_whole_batches(task.folder / GENERATIONS)[0])
    samples = read_samples(task.folder)
    scores = {name: score_problems(samples, ours) for name, ours in task.metrics.items()}
    each = list_completions(task.record.identity)
    for (number, asked), (kept, decoding) in product(enumerate(task.record.asked), task.filters.items()):
        problem = asked.problem
        lines = [generations[problem.id, *which] for which in each if which[0] == decoding]
        doc = {"id": problem.id, "problem": problem.prompt, "answer": problem.answer, **asdict(problem.form)}
        # lm-eval's target of ranked options is the index of the right option.
        target = str(ascii_uppercase.index(problem.answer)) if task.ranked else problem.answer
        metrics = {
            name: values[problem.id] for (name, its), values in scores.items() if its == kept and problem.id in values
        }
        yield {
            "doc_id": number,
            "doc": doc,
            "target": target,
            "arguments": _build_arguments(asked, task.settings(decoding)),
            **_build_responses(lines),
            "filter": kept,
            "metrics": list(metrics),
            "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
            "prompt_hash": _hash(asked.prompt),
            "target_hash": _hash(target),
            **metrics,
        }


def _build_arguments(asked: Asked, settings: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    seconds: Iterable[Any] = asked.options if settings is None else [settings]
    return {f"gen_args_{n}": {"arg_0": asked.prompt, "arg_1": second} for n, second in enumerate(seconds)}


def _build_responses(lines: Sequence[Generation]) -> dict[str, Any]:
    """Return the responses before and after the filter: one request for each problem, or one for each option."""
    if "ranking" not in lines[0]:
        texts = [line["completion"] for line in lines]
        return {"resps": [texts], "filtered_resps": [texts]}
    ranking = lines[0]["ranking"]
    pairs = [
        [str(-float("inf") if logprob is None else logprob), str(greedy)]
        for logprob, greedy in zip(ranking["logprobs"], ranking["greedy"], strict=True)
    ]
    return {"resps": [[pair] for pair in pairs], "filtered_resps": pairs}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _make_file_name(model: str) -> str:
    """Return lm-eval's folder name of a model, but never a hidden folder or one outside of the output folder."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model).lstrip(".") or "model"
