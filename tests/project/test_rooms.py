"""The tables of the pages are the real ones; imports run downward through the rooms."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

import pytest

from convnext.checkpoints.dialects import DIALECTS, WRITTEN
from convnext.checkpoints.recognition import STRANGERS
from convnext.cli.main import parser
from tests.conftest import ROOMS
from tests.project.markdown_pages import DOCS, ROOT, relative, table


def rooms() -> dict[str, int]:
    """File -> level, as the page on architecture has them."""
    return {row[1]: int(row[0]) for row in table(DOCS / "architecture.md", "| level | file |")}


def imports(path: Path) -> set[str]:
    """Files of this package that a file imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {file for module in modules if (file := file_of(module))}


def file_of(module: str) -> str | None:
    """`convnext.store.load` is a name in convnext/store/__init__.py."""
    place = ROOT / Path(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file() and module.partition(".")[0] == "convnext":
            return relative(path)
    parent = module.rpartition(".")[0]
    return file_of(parent) if parent else None


def upward(levels: dict[str, int], imported: dict[str, set[str]]) -> list[str]:
    return [
        f"{file} ({levels[file]}) imports {other} ({levels[other]})"
        for file, others in imported.items()
        for other in sorted(others)
        if levels[other] <= levels[file]  # a KeyError: the page lacks a row for this file
    ]


def test_the_rooms_are_the_files_there_are() -> None:
    assert set(rooms()) == {relative(path) for path in (ROOT / "convnext").rglob("*.py")}


def test_imports_run_downward_and_the_frameworks_never_meet() -> None:
    levels = rooms()
    imported = {file: imports(ROOT / file) for file in levels}
    assert not upward(levels, imported)
    for file, others in imported.items():
        own = file.split("/")[1]
        met = {other.split("/")[1] for other in others} & {"pt", "tf"}
        assert met <= {own}, f"{file} imports {met}"


def test_an_upward_import_would_be_found() -> None:
    levels = rooms()
    assert upward(levels, {"convnext/config.py": {"convnext/store/__init__.py"}})
    assert "convnext/porter.py" in imports(ROOT / "convnext" / "store" / "__init__.py")


@pytest.mark.parametrize("file", sorted(rooms()))
def test_only_its_own_room_imports_a_framework(file: str) -> None:
    frameworks = {"torch": "pt", "tensorflow": "tf", "keras": "tf"}
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    inside = [inner for node in body if isinstance(node, ast.Try) for inner in node.body]
    for node in body + inside:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for framework in {name.partition(".")[0] for name in names} & set(frameworks):
            assert file.split("/")[1] == frameworks[framework], f"{file} imports {framework}"


def test_the_map_of_the_readme_names_every_room() -> None:
    named = {cell for row in table(ROOT / "README.md", "| room |") for cell in row[0].split(", ")}
    folders = {f"{p.parent.name}/" for p in (ROOT / "convnext").glob("*/__init__.py")}
    assert {f"convnext/{folder}" for folder in folders} <= named


def test_the_table_of_test_rooms_is_the_real_one() -> None:
    assert [row[0] for row in table(ROOT / "CONTRIBUTING.md", "| room |")] == list(ROOMS)


def test_the_tables_of_dialects_are_the_real_ones() -> None:
    shown = {row[0]: row[2:] for row in table(DOCS / "dialects.md", "| dialect | whose files |")}
    assert list(shown) == list(WRITTEN)
    for name in WRITTEN:
        dialect = DIALECTS[name]
        fixed = ", ".join(FIXED[field, value] for field, value in dialect.fixed.items())
        assert shown[name] == [
            dialect.file,
            ", ".join(dialect.suffixes),
            "1e-6" if dialect.final_eps == 1e-6 else "in config.json",
            fixed + ("; always has a layer scale" if dialect.needs_scale else ""),
        ]
    rows = table(DOCS / "dialects.md", "| dialect, read only |")
    others = [name for row in rows for name in row[0].split(", ")]
    assert sorted(others) == sorted(DIALECTS.keys() - set(WRITTEN))


FIXED = {
    ("patch_size", 4): "patch 4",
    ("num_stages", 4): "four stages",
    ("num_channels", 3): "three channels",
    ("hidden_act", "gelu"): "gelu",
}


def test_the_table_of_strangers_is_the_real_one() -> None:
    rows = table(DOCS / "dialects.md", "| a name with |")
    shown = {part: row[1] for row in rows for part in row[0].split(", ")}
    assert shown == STRANGERS


def test_the_command_line_page_names_every_dialect_and_option() -> None:
    options = {row[0] for row in table(DOCS / "cli.md", "| argument | meaning |")}
    convert = next(
        commands.choices["convert"]
        for commands in parser()._actions
        if isinstance(commands, argparse._SubParsersAction)
    )
    declared = {option for action in convert._actions for option in action.option_strings}
    assert declared - {"-h", "--help"} == {o.split()[0] for o in options if o.startswith("--")}
    said = next(row[1] for row in table(DOCS / "cli.md", "| argument |") if "--to" in row[0])
    assert re.split(r", | or ", said) == list(WRITTEN)
