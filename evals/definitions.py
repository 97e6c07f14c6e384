"""Find everything that a definition depends on, by reading source code without importing it.

`find_closure` follows a function, class or value ("package.module:name") to every definition that it names, and to the
names in those definitions. It follows names in the same module, imports (also those inside functions), re-exports,
``module.attribute``, and text of the form ``"package.module:name"``. The hash of a closure is the hash of the syntax of
these definitions, in the order in which they are reached. Each reference is written as the number of the definition
that it reaches. Therefore the hash does not depend on names and places of definitions, comments, docstrings, layout,
annotations of functions, or definitions that are not reached. If two imports can bind the same name, both count. If a
decorator of the packages adds an entry to a table, the entry counts with the table. If a text names files next to its
module, their content counts.

Not followed are: registries (the name of a part identifies it), `APART`, the standard library, and other packages,
whose public names count. A plug-in's own distribution is followed; for packages that only a plug-in names, the version
counts. Code that is reached dynamically (``getattr``, ``globals``, an import for its effect), or through the type of an
argument, is not detected.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

from evals.plumbing import APART, STAGES
from evals.sources import Import, Modules, SourceModule, Statement, find_changed
from evals.syntax import WHOLE, Dump, Key, Outside, Reference, Resolver, Whole

REGISTRY = Import("evals.registry", "Registry")
EFFECTS = "(statements)"
"""Placeholder name of a module's statements that belong to no definition, and therefore count for each of them."""


class DefinitionError(ValueError):
    """A part's definition cannot be read."""

    def __init__(self, rule: str, way_out: str) -> None:
        super().__init__(f"{rule}; {way_out}")
        self.rule, self.way_out = rule, way_out


@dataclass(frozen=True)
class Definition:
    """A single definition.

    Attributes:
        own: Hash of its syntax, without what it refers to.
        references: The definitions that it names, in order, with repetitions.
    """

    own: str
    references: tuple[Key, ...]


@dataclass(frozen=True)
class Closure:
    """A definition with everything that it reaches.

    Attributes:
        hash: Hash of everything that affects results (12 hex digits).
        definitions: ``"package.module:name"`` to the hash of each definition alone, for people to read.
    """

    hash: str
    definitions: Mapping[str, str]


@dataclass
class Definitions:
    """Reads closures; every definition is read once."""

    modules: Modules = field(default_factory=Modules)
    apart: frozenset[str] = APART
    _definitions: dict[Key, Definition] = field(default_factory=dict)
    _closures: dict[str, Closure] = field(default_factory=dict)
    _looked_up: set[Key] = field(default_factory=set)
    """Names that are being looked up: modules may take names from each other in a circle."""

    def __post_init__(self) -> None:
        self._entered = cache(self._find_entered)

    def closure(self, target: str) -> Closure:
        """Return the closure of ``"package.module:name"``.

        Raises:
            DefinitionError: Its source code is missing or cannot be read.
        """
        if target not in self._closures:
            try:
                self._closures[target] = self._compute_closure(self._find_root(target))
            except SyntaxError as error:
                place = f"{error.filename}:{error.lineno}"
                raise DefinitionError(
                    f"{target} depends on {place}, which is no Python: {error.msg}", "correct it"
                ) from error
            except RecursionError as error:
                raise DefinitionError(
                    f"{target} depends on an expression that is nested too deeply to be read",
                    "shorten it, for example write a long sum as a list",
                ) from error
        return self._closures[target]

    def _find_root(self, target: str) -> Key | Outside:
        module, _, attribute = target.partition(":")
        if module == "__main__":
            raise DefinitionError(
                f"{target} is defined in a script or a notebook, which no other process can import",
                "move it into a module of an installed package",
            )
        if module.partition(".")[0] in sys.stdlib_module_names:
            return Outside(target)
        source = self.modules.get(module)
        if source is None:
            files = ", ".join(path.name for path in self.modules.compiled(module)) or "no file"
            raise DefinitionError(
                f"{target} has no source code ({files} of {module} is there), which identifies the parts of a trial",
                "install the package with its .py files",
            )
        name = attribute.partition(".")[0]
        reference = self._find_exported(source, name)
        if reference is None or isinstance(reference, Whole):
            raise DefinitionError(
                f"{target}: {source.path} does not define {name!r} in a form that can be read",
                "define it by that name at the top of the module",
            )
        return reference

    def _compute_closure(self, root: Key | Outside) -> Closure:
        if isinstance(root, Outside):  # a part of another package, re-exported by the plug-in
            return Closure(_hash(root.text.encode()), {})
        numbers: dict[Key, int] = {root: 0}
        parts: list[object] = []
        names: dict[str, str] = {}
        waiting = [root]
        for key in waiting:  # the list grows during the loop
            definition = self._get_definition(key)
            waiting += [each for each in dict.fromkeys(definition.references) if each not in numbers]
            for each in definition.references:
                numbers.setdefault(each, len(numbers))
            parts.append([definition.own, [numbers[each] for each in definition.references]])
            names[f"{key[0]}:{key[1]}"] = definition.own
        return Closure(_hash(json.dumps(parts).encode()), names)

    def _get_definition(self, key: Key) -> Definition:
        if key not in self._definitions:
            self._definitions[key] = self._read(*key)
        return self._definitions[key]

    def _read(self, module: str, name: str) -> Definition:
        source = self.modules.get(module)
        if source is None:  # a compiled module of a plug-in
            return Definition(_hash(b"".join(path.read_bytes() for path in self.modules.compiled(module))), ())
        if name == WHOLE:
            exported = (self._find_exported(source, each) for each in source.names())
            return Definition(WHOLE, tuple(each for each in exported if isinstance(each, tuple)))
        named = partial(self._resolve_name, source)
        dump = Dump(source, Resolver(named, self._attribute, self._make_target(source), partial(_hash_data, source)))
        for statement in source.effects if name == EFFECTS else source.statements(name):
            dump.write(statement)
        entered = self._entered(module)
        effects = [(module, EFFECTS)] if (source.effects or EFFECTS in entered) and name != EFFECTS else []
        return Definition(_hash(dump.text().encode()), (*dump.references, *entered.get(name, ()), *effects))

    def _find_entered(self, module: str) -> dict[str, list[Key]]:
        """Return the definitions that decorators of a module enter into tables, by the name of the table.

        The name is `EFFECTS` if the table is in another module.
        """
        source, entered = self.modules.get(module), dict[str, list[Key]]()
        for node in source.decorated if source is not None else ():
            tables = {table for decorator in node.decorator_list for table in self._find_tables(module, decorator)}
            for place, table in sorted(tables - {(module, node.name)}):
                entered.setdefault(table if place == module else EFFECTS, []).append((module, node.name))
        return entered

    def _find_tables(self, module: str, decorator: ast.expr) -> Iterator[Key]:
        """Yield the tables that a decorator may change: its method's object, or those that its function changes."""
        source, function = self.modules.get(module), decorator
        while isinstance(function, ast.Call):
            function = function.func
        names = ast.unparse(function).split(".")
        reference = self._find_exported(source, names.pop(0)) if source is not None else None
        while isinstance(reference, Whole) and names:
            reference = self._attribute(reference, names.pop(0))
        if not isinstance(reference, tuple):
            return
        if names:
            yield reference
        its = self.modules.get(reference[0])
        statements = its.statements(reference[1]) if its else ()
        inside = [each for statement in statements for each in _walk(statement)]
        for name in {name for each in inside for name in find_changed(each)}:
            table = self._find_exported(its, name) if its else None
            if isinstance(table, tuple):
                yield table

    def _resolve_name(self, source: SourceModule, name: str | Import) -> Reference | None:
        """Return the reference of a module's name, or of an import in it; None for a name that it does not define."""
        if isinstance(name, str):
            return self._find_exported(source, name)
        return self._find_imported(source, name)

    def _find_exported(self, source: SourceModule, name: str) -> Reference | None:
        place = (source.name, name)
        if place in self._looked_up:
            return None
        self._looked_up.add(place)
        try:
            return self._find(source, name)
        finally:
            self._looked_up.remove(place)

    def _find(self, source: SourceModule, name: str) -> Reference | None:
        imported = source.imports.get(name)
        if imported is not None:
            return self._find_imported(source, imported)
        if source.statements(name):
            return self._stop(source, name) or (source.name, name)
        for star in reversed(source.stars):
            other = self._follow(source, star)
            if other is not None and (reference := self._find_exported(other, name)) is not None:
                return reference
        return None

    def _find_imported(self, source: SourceModule, what: Import) -> Reference:
        if not self.modules.follows(source.name, what.module):
            return Outside(self.modules.outside(source.name, what.module, what.name))
        if what.name is None:
            return Whole(source.name, what.module)
        return self._attribute(Whole(source.name, what.module), what.name) or Outside(what.name)

    def _attribute(self, whole: Whole, name: str) -> Reference | None:
        """Return the reference of a module's attribute."""
        if not self.modules.follows(whole.seen_from, whole.module):
            return Outside(self.modules.outside(whole.seen_from, whole.module, name))
        source = self.modules.get(whole.module)
        if source is not None and (reference := self._find_exported(source, name)) is not None:
            return reference
        if self.modules.exists(f"{whole.module}.{name}"):
            return Whole(whole.seen_from, f"{whole.module}.{name}")
        if source is None and self.modules.compiled(whole.module):
            return whole.module, name
        if source is not None and source.binds_in_passing(name):
            return whole.module, EFFECTS
        return None if source is None or not source.statements("__getattr__") else (whole.module, "__getattr__")

    def _follow(self, source: SourceModule, module: str) -> SourceModule | None:
        return self.modules.get(module) if self.modules.follows(source.name, module) else None

    def _stop(self, source: SourceModule, name: str) -> Outside | None:
        """Return the stand-in for a definition that is not followed; None if it is followed."""
        if source.name in self.apart:
            return Outside(name.lstrip("_"))
        constructor = source.constructor(name)
        if constructor is not None and source.imports.get(constructor) == REGISTRY:
            return Outside(name)
        return None

    def _make_target(self, source: SourceModule) -> Callable[[str], Reference | None]:
        def target(text: str) -> Reference | None:
            module, _, attribute = text.partition(":")
            if not self.modules.follows(source.name, module) or self.modules.get(module) is None:
                return None
            return self._attribute(Whole(source.name, module), attribute)

        return target


def _hash_data(source: SourceModule, text: str) -> str | None:
    """Return a hash of the data files that a text names next to a module; None if it names none."""
    files = source.files(text)
    return _hash(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)) if files else None


def _walk(statement: Statement) -> Iterator[ast.AST]:
    return ast.walk(statement) if isinstance(statement, ast.AST) else iter(())


@cache
def read_installed() -> Definitions:
    """Return the definitions of the installed packages; they are cached, because a process does not change its code."""
    return Definitions()


def find_closure(target: str) -> Closure:
    """Return the closure of ``"package.module:name"`` of the installed packages; see `Definitions.closure`."""
    return read_installed().closure(target)


@cache
def hash_plumbing() -> dict[str, str]:
    """Return a hash of each plumbing module; comments, docstrings and layout do not change it."""
    names = sorted(module for stage in STAGES.values() for module in stage.modules)
    sources = {name: read_installed().modules.get(name) for name in names}
    return {name: _hash(source.syntax().encode()) for name, source in sources.items() if source is not None}


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
