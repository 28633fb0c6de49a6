"""Which module of the package imports which, in which way, and in which room each stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.project.markdown_pages import ROOT

# Imports by a name that the code computes, which no analysis resolves: module -> what they can be.
BY_COMPUTED_NAME = {
    "convnext.verification.originals": ("timm", "torchvision", "transformers", "keras"),
}


class Import(NamedTuple):
    """One import of one module."""

    importer: str
    imported: str  # empty: by a name that the code computes
    way: str  # "loaded": with its importer; "function": inside a function; "name": import_module


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, str]:
    """Module -> its source, for every module of the package."""
    found = sorted((ROOT / "convnext").rglob("*.py"))
    return {module_of(path): path.read_text(encoding="utf-8") for path in found}


def imports(module: str, source: str, known: Iterable[str], *, package: bool) -> list[Import]:
    """Every import that the source states, wherever it stands.

    Args:
        known: modules of the package; `from a import b` imports a.b if that is one of them.
        package: whether the source is that of an `__init__.py`.
    """
    return list(_Finder(module, set(known), package).find(ast.parse(source), inside=False))


@cache
def all_imports() -> list[Import]:
    """Those of the whole package; imports by a computed name as BY_COMPUTED_NAME has them."""
    texts = sources()
    packages = {name for name in texts if (ROOT / Path(*name.split("."))).is_dir()}
    found: list[Import] = []
    for name, text in texts.items():
        for one in imports(name, text, texts, package=name in packages):
            computed = [] if one.imported else BY_COMPUTED_NAME.get(name, ())
            found += [one] if one.imported else [one._replace(imported=n) for n in computed]
    return found


class _Finder:
    def __init__(self, module: str, known: set[str], package: bool) -> None:
        self.module, self.known = module, known
        self.home = module.split(".") if package else module.split(".")[:-1]
        self.importers = {"import_module", "__import__"}  # functions that import by name

    def find(self, tree: ast.AST, *, inside: bool) -> Iterator[Import]:
        way = "function" if inside else "loaded"
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.Import):
                yield from (Import(self.module, alias.name, way) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (Import(self.module, name, way) for name in self._from(node))
            elif isinstance(node, ast.Call) and self._name(node.func) in self.importers:
                yield from (Import(self.module, name, "name") for name in self._named(node))
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from self.find(node, inside=inside or function)

    def _from(self, node: ast.ImportFrom) -> Iterator[str]:
        base = self.home[: len(self.home) + 1 - node.level] if node.level else []
        parent = ".".join([*base, *filter(None, [node.module])])
        for alias in node.names:
            if alias.name in self.importers:
                self.importers.add(alias.asname or alias.name)
            whole = f"{parent}.{alias.name}"
            yield whole if whole in self.known else parent

    def _named(self, call: ast.Call) -> list[str]:
        """A string is itself; an f-string is every module of the package that it can name."""
        argument = call.args[0] if call.args else None
        if isinstance(argument, ast.Constant):
            return [str(argument.value)]
        if not isinstance(argument, ast.JoinedStr):
            return [""]
        parts = (
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w.]+"
            for part in argument.values
        )
        pattern = re.compile("".join(parts))
        return sorted(filter(pattern.fullmatch, self.known)) or [""]

    @staticmethod
    def _name(function: ast.expr) -> str:
        return getattr(function, "attr", getattr(function, "id", ""))


class Rule(NamedTuple):
    """A row of the table of what is never imported; a name stands for all that it holds, too."""

    importers: tuple[str, ...]
    forbidden: tuple[str, ...]
    exceptions: dict[str, tuple[str, ...]]  # importer -> the ways that it may

    def broken(self, found: Iterable[Import]) -> list[str]:
        return [
            f"{one.importer} imports {one.imported} ({one.way})"
            for one in found
            if _covered(one.importer, self.importers)
            and _covered(one.imported, self.forbidden)
            and not any(
                _covered(one.importer, [name]) and one.way in ways
                for name, ways in self.exceptions.items()
            )
        ]


WAYS = {
    "": ("loaded", "function", "name"),
    "in a function": ("function", "name"),
    "by name": ("name",),
}


def rule(row: list[str]) -> Rule:
    """From the cells: importers, forbidden, exceptions, each separated by commas."""
    importers, forbidden, exceptions = (
        [part.strip() for part in cell.split(",") if part.strip()] for cell in row
    )
    pairs = (part.partition(" ")[::2] for part in exceptions)
    return Rule(tuple(importers), tuple(forbidden), {name: WAYS[way] for name, way in pairs})


def _covered(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def logic(source: str) -> list[str]:
    """What an `__init__.py` holds beyond a docstring, imports and `__all__`."""
    plain = {"__all__"}
    return [
        ast.unparse(node).splitlines()[0]
        for i, node in enumerate(ast.parse(source).body)
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (i == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.Assign) and {ast.unparse(t) for t in node.targets} == plain)
    ]
