"""Write the syntax of a definition as text that does not depend on the names of the definitions it refers to."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evals.sources import Import, SourceModule, read_imports

Key = tuple[str, str]
"""A definition: its module and name."""
WHOLE = "(module)"
"""Placeholder name of a module that is used as an object, and therefore refers to all its definitions."""

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_UNSEEN = frozenset({"ctx", "kind", "type_comment", "returns", "type_ignores"})
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_OWN_SCOPE = (*_FUNCTIONS, ast.ClassDef, *_COMPREHENSIONS)


@dataclass(frozen=True)
class Outside:
    """A reference that is not followed, described by a text."""

    text: str


@dataclass(frozen=True)
class Whole:
    """A module, and the module that refers to it."""

    seen_from: str
    module: str


Reference = Key | Outside | Whole


@dataclass(frozen=True)
class Resolver:
    """Functions that resolve names to references; None for an unknown name.

    Attributes:
        named: Resolves a global name, or an import inside a function.
        attribute: Resolves a name in a module.
        target: Resolves text of the form ``"package.module:name"``.
        data: Returns a hash of the content of the files that a text names next to the module; None if it names none.
    """

    named: Callable[[str | Import], Reference | None]
    attribute: Callable[[Whole, str], Reference | None]
    target: Callable[[str], Reference | None]
    data: Callable[[str], str | None]


class Dump:
    """Writes statements of a module as text, and collects their references."""

    def __init__(self, source: SourceModule, resolver: Resolver) -> None:
        self._source, self._resolver = source, resolver
        self._scopes: list[tuple[bool, Mapping[str, Import | None]]] = []  # whether the scope is a class, and its names
        self._out: list[str] = []
        self.references: list[Key] = []

    def text(self) -> str:
        """Return the written text."""
        return "".join(self._out)

    def write(self, node: object) -> None:
        """Write a statement, without the name of a function or class of the module."""
        if isinstance(node, list):
            self._out.append("[")
            for each in node:
                self.write(each)
            self._out.append("]")
        elif isinstance(node, ast.AST):
            self._write_node(node)
        elif isinstance(node, Import):
            self._refer(self._resolver.named(node) or Outside(str(node.name)))
        else:
            self._out.append(f"{node!r},")

    def _write_node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._note_import(node)
            return
        if isinstance(node, ast.Name | ast.Attribute) and self._write_reference(node):
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and self._write_text(node.value):
            return
        if isinstance(node, _OWN_SCOPE):
            self._write_scoped(node)
        else:
            self._write_plain(node, ast.iter_fields(node))

    def _note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Record an import's reference if its name does not show it: at module level, or if two imports bind a name."""
        for name, imported in read_imports(node, self._source.name, self._source.is_package).items():
            if not self._scopes or self._scopes[-1][1].get(name) != imported:
                reference = self._resolver.named(imported)
                if reference is not None and not isinstance(reference, Outside):
                    self._refer(reference)

    def _write_text(self, text: str) -> bool:
        """Write the reference in a text; return False if it is plain text."""
        reference = self._resolver.target(text) if _TARGET.fullmatch(text) else None
        if isinstance(reference, tuple):
            self._refer(reference)
        elif (data := self._resolver.data(text)) is not None:
            self._out.append(f"{text!r}<{data}>,")
        else:
            return False
        return True

    def _write_plain(self, node: ast.AST, fields: Iterator[tuple[str, object]]) -> None:
        self._out.append(f"{type(node).__name__}(")
        for name, value in fields:
            if name in _UNSEEN or (name == "annotation" and not self._declares(node)):
                continue
            self.write(value)
        self._out.append(")")

    def _declares(self, node: ast.AST) -> bool:
        """Return whether an annotation can affect results: that of a class's field can, in a settings model."""
        return isinstance(node, ast.AnnAssign) and bool(self._scopes) and self._scopes[-1][0]

    def _write_scoped(self, node: ast.AST) -> None:
        """Write a node with its own scope: decorators and bases in the outer scope, the rest in its own."""
        outer = ("decorator_list", "bases", "keywords")
        fields = dict(ast.iter_fields(node))
        self._write_plain(node, ((name, fields.pop(name)) for name in outer if name in fields))
        if (given := fields.pop("name", None)) is not None and self._scopes:
            self.write(given)  # the name of a module's definition does not count, that of an inner definition does
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            fields["body"] = node.body[1:]
        if isinstance(node, _FUNCTIONS):
            self._write_plain(
                node.args, iter([("defaults", node.args.defaults), ("kw_defaults", node.args.kw_defaults)])
            )
        self._scopes.append((isinstance(node, ast.ClassDef), _find_bound(node, self._source)))
        if isinstance(node, _FUNCTIONS):
            args = dict(ast.iter_fields(fields.pop("args")))
            self._write_plain(node, ((name, args[name]) for name in args if "defaults" not in name))
        self._write_plain(node, iter(fields.items()))
        self._scopes.pop()

    def _write_reference(self, node: ast.Name | ast.Attribute) -> bool:
        """Write the reference of a global name or of a module's attribute; return False if the node is neither."""
        names: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value
        reference = self._look_up(inner.id) if isinstance(inner, ast.Name) else None
        while isinstance(reference, Whole) and names:
            deeper = self._resolver.attribute(reference, names[0])
            if deeper is None:
                break
            reference, _ = deeper, names.pop(0)
        if reference is None:
            return False
        self._refer(reference)
        self._out.append("".join(f".{name}" for name in names))
        return True

    def _look_up(self, name: str) -> Reference | None:
        for place, (of_class, names) in enumerate(reversed(self._scopes)):
            if name in names and not (of_class and place):  # names of a class are not visible in its methods
                imported = names[name]
                return None if imported is None else self._resolver.named(imported)
        return self._resolver.named(name)

    def _refer(self, reference: Reference) -> None:
        if isinstance(reference, Outside):
            self._out.append(f"<{reference.text}>")
        else:
            self.references.append((reference.module, WHOLE) if isinstance(reference, Whole) else reference)
            self._out.append("§")


def _find_bound(node: ast.AST, source: SourceModule) -> dict[str, Import | None]:
    """Return the names that a scope binds, each with its import if it has one."""
    names: dict[str, Import | None] = {}
    if isinstance(node, _FUNCTIONS):
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        names |= dict.fromkeys(each.arg for each in every if each is not None)
    outside: set[str] = set()
    for each in _walk_scope(node):
        if isinstance(each, ast.Import | ast.ImportFrom):
            names |= read_imports(each, source.name, source.is_package)
        elif isinstance(each, ast.Global):
            outside |= {*each.names}
        elif isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            names.setdefault(each.id)
        elif isinstance(each, (*_DOCUMENTED, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and each.name:
            names.setdefault(each.name)
        elif isinstance(each, ast.MatchMapping) and each.rest:
            names.setdefault(each.rest)
    return {name: imported for name, imported in names.items() if name not in outside}


def _walk_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope itself, not those of inner scopes."""
    if isinstance(node, _COMPREHENSIONS):
        waiting: Sequence[ast.AST] = [each.target for each in node.generators]
    else:
        body = getattr(node, "body")  # noqa: B009 - of functions and classes, which share no type
        waiting = body if isinstance(body, list) else [body]
    queue = [*waiting]
    while queue:
        each = queue.pop()
        yield each
        if not isinstance(each, _OWN_SCOPE):
            queue += ast.iter_child_nodes(each)
