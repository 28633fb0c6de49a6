"""The tables of the pages are the real ones; no room imports what it never may."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import networkx
import pytest

from convnext.checkpoints.dialects import DIALECTS, WRITTEN
from convnext.checkpoints.recognition import STRANGERS
from convnext.cli.main import parser
from convnext.verification.originals import LIBRARIES
from tests.conftest import ROOMS
from tests.project.imports import (
    BY_COMPUTED_NAME,
    Import,
    Rule,
    all_imports,
    imports,
    logic,
    rule,
    sources,
)
from tests.project.markdown_pages import DOCS, ROOT, relative, table

sys.path.insert(0, str(ROOT / "tools"))

from draw_architecture import GROUND, PICTURE, PLACES, arrows, drawn

PAGE = DOCS / "architecture.md"
KNOWN = {"convnext", "convnext.cli", "convnext.pt", "convnext.pt.runner", "convnext.tf.runner"}


def never() -> list[Rule]:
    """The table of what is never imported."""
    return [rule(row) for row in table(PAGE, "| importer | never imports |")]


def found_in(source: str, module: str = "convnext.config", **package: bool) -> list[Import]:
    return imports(module, source, KNOWN, package=package.get("package", False))


def test_the_rooms_of_the_page_are_those_of_the_picture_and_hold_every_file() -> None:
    named = [row[0] for row in table(PAGE, "| room | what it does |")]
    assert named == list(PLACES)
    folders = {f"{relative(path.parent)}/" for path in (ROOT / "convnext").rglob("*.py")}
    assert folders - {"convnext/"} <= set(named)


def test_the_picture_is_drawn_from_the_code() -> None:
    drawing = drawn(all_imports())
    assert PICTURE.read_text(encoding="utf-8") == drawing, "run tools/draw_architecture.py"


@pytest.mark.parametrize("row", never(), ids=str)
def test_what_is_never_imported(row: Rule) -> None:
    assert not row.broken(all_imports())


def test_no_two_rooms_import_each_other_and_the_ground_imports_none() -> None:
    found = arrows(all_imports(), by_name=False)
    assert networkx.is_directed_acyclic_graph(networkx.DiGraph(found))
    assert GROUND in {below for _, below in found}
    assert GROUND not in {above for above, _ in found}


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("import convnext.cli", "loaded"),
        ("from convnext import cli", "loaded"),
        ("from . import cli", "loaded"),
        ("try:\n    from convnext.cli import x\nexcept ImportError: pass", "loaded"),
        ("class A:\n    def f(self):\n        from .cli import x", "function"),
        ("from importlib import import_module\nimport_module('convnext.cli')", "name"),
        ("import importlib\ndef f(): importlib.import_module('convnext.cli')", "name"),
        ("from importlib import import_module as load\nload('convnext.cli')", "name"),
        ("__import__('convnext.cli')", "name"),
    ],
)
def test_a_forbidden_import_of_each_kind_is_found(source: str, way: str) -> None:
    found = found_in(source)
    assert Import("convnext.config", "convnext.cli", way) in found
    assert any(row.broken(found) for row in never())


def test_an_f_string_is_every_module_that_it_can_name() -> None:
    found = found_in("import_module(f'convnext.{name}.runner')", "convnext.pt.weights")
    assert [one.imported for one in found] == ["convnext.pt.runner", "convnext.tf.runner"]
    assert any(row.broken(found) for row in never())


def test_an_exception_allows_its_own_way_only() -> None:
    for source, allowed in (
        ("from convnext import pt", False),
        ("def f():\n    from convnext import pt", False),
        ("import_module('convnext.pt.runner')", True),
    ):
        found = found_in(source, "convnext.running")
        assert allowed == (not any(row.broken(found) for row in never()))


def test_imports_by_a_computed_name_are_listed() -> None:
    texts = sources()
    computed = {
        one.importer
        for name, text in texts.items()
        for one in imports(name, text, texts, package=False)
        if not one.imported
    }
    assert computed == set(BY_COMPUTED_NAME)
    modules = {library.module.partition(".")[0] for library in LIBRARIES.values()}
    assert modules == set(BY_COMPUTED_NAME["convnext.verification.originals"])


@pytest.mark.parametrize("path", sorted((ROOT / "convnext").rglob("__init__.py")), ids=relative)
def test_no_logic_stands_in_an_init(path: Path) -> None:
    assert not logic(path.read_text(encoding="utf-8"))


def test_logic_in_an_init_is_found() -> None:
    plain = '"""Doc."""\nimport a\nfrom b import c\n__all__ = ["c"]\n'
    assert not logic(plain)
    for line in ("X = 1", "def f(): pass", "if a: import d", "c()", '"a second string"'):
        assert logic(plain + line)


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


def commands() -> dict[str, argparse.ArgumentParser]:
    found = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(next(found).choices)


@pytest.mark.parametrize("command", commands())
def test_the_command_line_page_names_every_option(command: str) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    shown = [option for cell in cells for option in re.findall(r"`(--[a-z-]+)", cell)]
    declared = [o for action in commands()[command]._actions for o in action.option_strings]
    assert sorted(shown) == sorted(set(declared) - {"-h", "--help"})


def test_the_command_line_page_names_every_dialect() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    said = re.findall(r"^\| `--to DIALECT` \| (.*) \|$", page, re.MULTILINE)
    assert [re.findall(r"`([a-z0-9-]+)`", row) for row in said] == [list(WRITTEN)]
