"""Content hashes of source code: a change of behaviour shows, a change of comments or docstrings does not.

The hash is of the syntax tree as Python prints it, which differs between Python's minor versions; the minor version
stands in the identity of a trial for itself.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def source_hash(text: str) -> str:
    """Return a hash of Python source that comments, docstrings and layout do not change (12 hex digits)."""
    tree = ast.parse(text)
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


def closure(module: str, package: str) -> dict[str, Path]:
    """Return the files of a module and of all modules of `package` that it imports, directly or not, by name."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        files = module_files(waiting.pop())
        fresh = {name: path for name, path in files.items() if name not in found}
        found |= fresh
        waiting += [name for path in fresh.values() for name in _imports(path) if name.startswith(f"{package}.")]
    return found


@cache
def _imports(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module)


@cache
def file_hash(path: Path) -> str:
    """Return the `source_hash` of a file, read once: a process runs the code that it started with."""
    return source_hash(path.read_text(encoding="utf-8"))


@cache
def _origin(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the source of {module!r} is not there: a trial's identity names the code it runs")
    return Path(spec.origin)
