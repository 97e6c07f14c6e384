"""Content hashes of source code: a change of behaviour shows, a change of comments or docstrings does not.

The hash is of the syntax tree as Python prints it, which differs between Python's minor versions; the minor version
stands in the identity of a trial for itself.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_hash(text: str) -> str:
    """Return a hash of Python source that comments, docstrings and layout do not change (12 hex digits)."""
    return _hash(ast.parse(text))


def _hash(tree: ast.Module) -> str:
    """Return the hash of a syntax tree, which loses its docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def package_files(package: str, pattern: str = "*.py") -> dict[str, Path]:
    """Return the Python files of a package that match a pattern, by name (``"trainers/credit/votes.py"``)."""
    folder = _origin(package).parent
    prefix = package.replace(".", "/")
    return {f"{prefix}/{path.relative_to(folder).as_posix()}": path for path in sorted(folder.glob(pattern))}


def module_files(module: str) -> dict[str, Path]:
    """Return the file of a module, or all files of a package, by name."""
    origin = _origin(module)
    if origin.name == "__init__.py":
        return package_files(module, "**/*.py")
    return {f"{module.replace('.', '/')}.py": origin}


def closure(module: str, package: str, but: Collection[str] = ()) -> dict[str, Path]:
    """Return the files of a module and of all modules of `package` that it imports, directly or not, by name.

    Args:
        module: Where it begins.
        package: Only modules below this one are followed.
        but: Names of files that are left out, with what only they import.
    """
    files = module_files(module)
    return {**files, **imported(files, package, but)}


def imported(files: Mapping[str, Path], package: str, but: Collection[str] = ()) -> dict[str, Path]:
    """Return the files of `package` that these files import, directly or not, by name; see `closure`."""
    found: dict[str, Path] = {}
    waiting = dict(files)
    while waiting:
        _, path = waiting.popitem()
        for module in _imports(path):
            if module.startswith(f"{package}."):
                more = module_files(module).items()
                fresh = {name: path for name, path in more if name not in found and name not in but}
                found |= fresh
                waiting |= fresh
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> frozenset[str]:
    nodes = ast.walk(_tree(path))
    return frozenset(node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module)


@cache
def file_hash(path: Path) -> str:
    """Return the `source_hash` of a file, read once: a process runs the code that it started with."""
    return _hash(_tree(path))


@cache
def _origin(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the source of {module!r} is not there: a trial's identity names the code it runs")
    return Path(spec.origin)
