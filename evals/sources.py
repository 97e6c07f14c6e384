"""Find the source of modules, and the names that it binds, without importing anything."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from importlib.metadata import packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path

OURS = ("evals", "trainers", "capo_bench")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""Syntax nodes that may begin with a docstring."""
Decorated = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_FILE = re.compile(r"[\w*./-]{1,200}\.\w{1,8}")
"""Text that may name data files."""


@dataclass(frozen=True)
class Import:
    """The target of an import: a module's full name, and a name in it; without a name, the module itself."""

    module: str
    name: str | None = None


def read_imports(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> dict[str, Import]:
    """Return the names that an import statement binds; ``*`` for all names of a module."""
    if isinstance(node, ast.Import):
        return {
            each.asname or each.name.partition(".")[0]: Import(
                each.name if each.asname else each.name.partition(".")[0]
            )
            for each in node.names
        }
    base = node.module or ""
    if node.level:
        above = module.split(".")[: len(module.split(".")) - node.level + is_package]
        base = ".".join([*above, *([node.module] if node.module else [])])
    return {each.asname or each.name: Import(base, each.name) for each in node.names}


Statement = ast.AST | Import
"""A statement that binds a name, or changes the value of the name."""


@dataclass
class SourceModule:
    """A module's source.

    Attributes:
        imports: Names that exactly one import binds.
        stars: Modules from which it imports every name.
        effects: Statements that belong to no name.
        decorated: Its functions and classes with decorators.
    """

    name: str
    path: Path
    imports: dict[str, Import] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    effects: list[ast.AST] = field(default_factory=list)
    decorated: list[Decorated] = field(default_factory=list)
    _bound: dict[str, list[Statement]] = field(default_factory=dict)
    _imported: dict[str, list[Import]] = field(default_factory=dict)
    _way: str = ""

    def __post_init__(self) -> None:
        try:
            self._index(ast.parse(self.path.read_bytes(), str(self.path)).body)
        except SyntaxError as error:  # for a null byte, Python reports no place
            error.filename, error.lineno = error.filename or str(self.path), error.lineno or 1
            raise
        for name, bindings in self._imported.items():
            if name in self._bound or len(bindings) > 1:  # which one applies depends on the machine, so all count
                self._bound[name] = [*bindings, *self._bound.get(name, ())]
            else:
                self.imports[name] = bindings[0]

    def syntax(self) -> str:
        """Return the whole module without comments, docstrings and layout."""
        tree = ast.parse(self.path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        return ast.dump(tree)

    @property
    def is_package(self) -> bool:
        """Whether its file is a package's ``__init__.py``."""
        return self.path.name == "__init__.py"

    def statements(self, name: str) -> Sequence[Statement]:
        """Return the statements that bind a name or change its value."""
        return self._bound.get(name, ())

    def names(self) -> Iterator[str]:
        """Yield the names that the module binds."""
        yield from {**self._bound, **self.imports}

    def binds_in_passing(self, name: str) -> bool:
        """Return whether a statement that belongs to no name binds this one: a loop, a ``with``, ``:=``."""
        inside = [each for effect in self.effects for each in ast.walk(effect)]
        return any(isinstance(each, ast.Name) and each.id == name for each in inside) or any(
            name in read_imports(each, self.name, self.is_package)
            for each in inside
            if isinstance(each, ast.Import | ast.ImportFrom)
        )

    def files(self, text: str) -> list[Path]:
        """Return the data files that a text names, next to the module or, in a package, in folders below it."""
        if not _FILE.fullmatch(text) or ".." in text or text.endswith((".py", ".pyc")):
            return []
        below = "**/" if "." in self.name or self.is_package else ""
        return sorted(path for path in self.path.parent.glob(below + text) if path.is_file())

    def constructor(self, name: str) -> str | None:
        """Return the name that is called in the assignment of a name."""
        for node in self.statements(name):
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                return value.func.id
        return None

    def _index(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._bind(node.name, node)
                if node.decorator_list:
                    self.decorated.append(node)
            elif isinstance(node, ast.If):
                self._branch(node)
            elif isinstance(node, ast.Try):
                self._try(node)
            elif not isinstance(node, ast.Pass):
                self._note_statement(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        bindings = read_imports(node, self.name, self.is_package)
        if star := bindings.pop("*", None):
            self.stars.append(star.module)
        for name, imported in bindings.items():
            ways = self._imported.setdefault(name, [])
            if imported not in ways:
                ways.append(imported)

    def _branch(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        if test not in {"TYPE_CHECKING", "typing.TYPE_CHECKING"} and not test.startswith("__name__ =="):
            self.effects.append(node.test)
            self._index_way("if", node.body)
            self._index_way("else", node.orelse)
        else:
            self._index(node.orelse)

    def _try(self, node: ast.Try) -> None:
        self._index_way("try", node.body)
        for handler in node.handlers:
            self._index_way(f"except {ast.unparse(handler.type) if handler.type else ''}", handler.body)
        self._index_way("else", node.orelse)
        self._index_way("finally", node.finalbody)

    def _index_way(self, way: str, body: Sequence[ast.stmt]) -> None:
        outer, self._way = self._way, f"{self._way}/{way}"
        self._index(body)
        self._way = outer

    def _note_statement(self, node: ast.stmt) -> None:
        """Record a statement for the names that it binds or changes; if there are none, for all names."""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        if names := {*find_changed(node)} - {*self._imported}:
            for name in sorted(names - {"__all__"}):
                self._bind(name, node)
        else:
            self.effects.append(node)

    def _bind(self, name: str, node: ast.AST) -> None:
        ways = [ast.Constant(self._way)] if self._way else []
        self._bound.setdefault(name, []).extend([*ways, node])


def find_changed(node: ast.AST) -> Iterator[str]:
    """Yield the names that a simple statement assigns, or whose attributes, items or methods it uses to change them."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Expr | ast.Return) and _calls_method(node.value):
        targets = [node.value.func]  # type: ignore[union-attr]
    elif type(node).__name__ == "TypeAlias":
        targets = [node.name]  # type: ignore[attr-defined]
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        elif isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
            targets.append(target.value)


def _calls_method(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


class Modules:
    """Finds the source of modules, in the given folders first, then on Python's path."""

    def __init__(self, *first: Path) -> None:
        self._first = [str(folder) for folder in first]
        self.get = cache(self._get)
        self.compiled = cache(self._find_compiled)
        self.follows = cache(self._follows)
        self._folders = cache(self._find_folders)

    def exists(self, module: str) -> bool:
        """Return whether a module exists, as source or compiled."""
        return self.get(module) is not None or bool(self.compiled(module))

    def outside(self, seen_from: str, module: str, name: str | None) -> str:
        """Return the placeholder for a name of a package that is not followed; for a plug-in, with the version."""
        top = module.partition(".")[0]
        full = f"{module}.{name}" if name else module
        if seen_from.partition(".")[0] in OURS or top in sys.stdlib_module_names:
            return full
        others = {each for each in _map_distributions().get(top, ()) if _normalize(each) not in _list_required()}
        return " ".join([full, *(f"{each}=={version(each)}" for each in sorted(others))])

    def _get(self, module: str) -> SourceModule | None:
        for base in self._list_bases(module):
            for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
                if path.is_file():
                    return SourceModule(module, path)
        return None

    def _find_compiled(self, module: str) -> tuple[Path, ...]:
        suffixes = (*EXTENSION_SUFFIXES, ".pyc")
        paths = [base.with_name(base.name + suffix) for base in self._list_bases(module) for suffix in suffixes]
        return tuple(path for path in paths if path.is_file())

    def _follows(self, seen_from: str, module: str) -> bool:
        """Return whether a module is followed from another: it must belong to this project or to its distribution."""
        own, top = seen_from.partition(".")[0], module.partition(".")[0]
        if top in OURS or top == own:
            return True
        if own in OURS or top in sys.stdlib_module_names:
            return False
        theirs = _map_distributions().get(top)
        return not theirs or bool({*theirs} & {*_map_distributions().get(own, ())})

    def _list_bases(self, module: str) -> list[Path]:
        """Return the possible paths of a module, without a file extension."""
        top, *below = module.split(".")
        return [folder.joinpath(*below) if below else folder for folder in self._folders(top)]

    def _find_folders(self, top: str) -> list[Path]:
        if not top.isidentifier():
            return []
        try:
            spec = (PathFinder.find_spec(top, self._first) if self._first else None) or find_spec(top)
        except ValueError:  # a module that was created at run time and has no spec
            return []
        if spec is None:
            return []
        if spec.submodule_search_locations is not None:
            return [Path(each) for each in spec.submodule_search_locations]
        return [Path(spec.origin).with_name(top)] if spec.origin else []


@cache
def _map_distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in packages_distributions().items()}


@cache
def _list_required() -> frozenset[str]:
    """Return the distributions that capo-bench itself requires."""
    return frozenset(_normalize(re.split(r"[^\w.-]", each)[0]) for each in requires("capo-bench") or ())


def _normalize(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
