"""Which code decides which stage of a trial.

A file that decides a stage decides those after it as well, and is named with the first one only.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from capo_bench.study.source import closure, file_hash, imported, module_files, package_files
from evals.benchmarks import BENCHMARKS
from trainers.critics import CRITICS
from trainers.methods import METHODS

Code = dict[str, str]
"""Content hash by name of a file."""

# Their content is in the identity as values; a new check or a new name changes no result.
_DECLARATIONS = {
    *("evals/benchmarks.py", "evals/config.py", "evals/registry.py", "evals/harness/base.py"),
    *("trainers/config.py", "trainers/methods.py", "trainers/prm/config.py"),
}
# What a folder of completions passes on to scoring.
_ONLY_SCORING = {"evals/metrics.py", "evals/tasks/scoring.py"}


@cache
def training_code(method: str, benchmark: str, critic: str, cold_start: bool) -> Code:
    """Return the code that decides the model: for a method that does not train, of the start alone."""
    found = METHODS.get(method)
    files = {**module_files(METHODS.module(method)), **_own_files(method), **model_files(benchmark)}
    if cold_start:
        files |= cold_start_files()
    if "train" in found.uses:
        files |= {**_shared_training_files(), **module_files("trainers.credit.segment")}
        files |= module_files("trainers.credit.align")
    if "credit" in found.uses:
        files |= _credit_files(method)
    if "critic" in found.uses:
        files |= closure(CRITICS.module(critic), "trainers.critics")
    if "prm" in found.uses:
        files |= prm_files("trainers.prm.trainer")
    if found.train:
        files |= imported(files, "evals", _DECLARATIONS)
    return hashes(files)


@cache
def generation_code(backend: str, benchmark: str) -> Code:
    """Return the code that decides what a model says, beside the code that made the model."""
    but = _DECLARATIONS | _ONLY_SCORING
    files = {
        **module_files("capo_bench.run.evaluation"),
        **module_files("evals.harness.opening"),
        **module_files(BENCHMARKS.module(benchmark)),
        **package_files("evals.tasks"),
        **closure("evals.harness.asking", "evals", but),
        **closure(f"evals.harness.{backend}", "evals", but),
    }
    return hashes({name: path for name, path in files.items() if name not in but})


@cache
def scoring_code(benchmark: str) -> Code:
    """Return the code that decides what completions are worth."""
    files = {
        **module_files("trainers.credit.segment"),
        **module_files(BENCHMARKS.module(benchmark)),
        **closure("evals.harness.score", "evals", _DECLARATIONS),
    }
    return hashes(files)


def model_files(benchmark: str) -> dict[str, Path]:
    """Return the files of the backbones and of the benchmark, which also writes the demonstrations."""
    return package_files("trainers.backbones") | module_files(BENCHMARKS.module(benchmark))


def cold_start_files() -> dict[str, Path]:
    """Return the files of supervised training."""
    return module_files("trainers.sft")


def prm_files(module: str) -> dict[str, Path]:
    """Return the files of a module of `trainers.prm`, and those of it, of credit and of critics that it rests on."""
    files = closure(module, "trainers.prm", _DECLARATIONS)
    return files | imported(files, "trainers.credit") | imported(files, "trainers.critics")


def hashes(files: dict[str, Path]) -> Code:
    """Return the content hashes of files, without those that only declare settings."""
    return {name: file_hash(path) for name, path in sorted(files.items()) if name not in _DECLARATIONS}


def _shared_training_files() -> dict[str, Path]:
    """Return the files of `trainers` that belong to no one method and not to the cold start alone."""
    apart = {*_of_methods()} | {"trainers/sft.py"}
    return {name: path for name, path in package_files("trainers").items() if name not in apart}


def _credit_files(method: str) -> dict[str, Path]:
    """Return the files of `trainers.credit`, without those that nothing but other methods needs."""
    shared = imported(_shared_training_files() | package_files("trainers.critics"), "trainers.credit")
    needs = {name: _own_credit_files(name) for name in METHODS.names()}
    others = {file for files in needs.values() for file in files} - {*shared, *needs[method]}
    return {name: path for name, path in package_files("trainers.credit").items() if name not in others}


def _own_credit_files(method: str) -> dict[str, Path]:
    charge = module_files(METHODS.get(method).charge.partition(":")[0])
    return charge | imported(_own_files(method) | charge, "trainers.credit")


@cache
def _own_files(method: str) -> dict[str, Path]:
    """Return the file that trains by a method, and those of other methods that it builds on."""
    files = _training_file(method)
    return files | {name: path for name, path in imported(files, "trainers").items() if name in _of_methods()}


@cache
def _of_methods() -> dict[str, Path]:
    return {name: path for method in METHODS.names() for name, path in _training_file(method).items()}


def _training_file(method: str) -> dict[str, Path]:
    train = METHODS.get(method).train
    return module_files(train.partition(":")[0]) if train else {}
