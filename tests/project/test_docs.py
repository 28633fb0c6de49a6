"""The pages are true: their code runs, their output and signatures are the real ones."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import markdown_pages
import pytest
from markdown_pages import PAGES, ROOT, RUN, Block

import convnext
from convnext.dialects import DIALECTS

DOCS = ROOT / "docs"
RUNNABLE = [page for page in PAGES if any(b.tag in RUN for b in markdown_pages.blocks(page))]

# page -> the class that it is about
CLASSES = {
    "config.md": "convnext.ConvNextConfig",
    "feature-extractor.md": "convnext.ConvNextFeatureExtractor",
    "outputs.md": "convnext.ConvNextModelOutput",
    "pt-model.md": "convnext.pt.ConvNextModel",
    "pt-classification.md": "convnext.pt.ConvNextForImageClassification",
    "tf-model.md": "convnext.tf.TFConvNextModel",
    "tf-classification.md": "convnext.tf.TFConvNextForImageClassification",
}
# documented by what they do: export by `export`, loss and metrics by `fit`
NOT_CALLED = {
    "build", "call", "forward", "compute_loss", "compute_metrics", "from_config",
    "get_config", "has_head",
}  # fmt: skip


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", RUNNABLE, ids=relative)
def test_every_block_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in markdown_pages.blocks(page) if block.tag in RUN]
    results = run(page, blocks, tmp_path)
    for block, result in zip(blocks, results, strict=False):
        where = f"{relative(page)}:{block.line}"
        assert not result["error"], f"{where}\n{result['error']}"
        if block.output is not None:
            wrong = markdown_pages.differences(block.output, result["printed"])
            assert not wrong, f"{where}\n" + "\n".join(wrong)
    assert len(results) == len(blocks)


def run(page: Path, blocks: list[Block], folder: Path) -> list[dict[str, str]]:
    rows = [
        {
            "tag": block.tag,
            "name": f"{relative(page)}:{block.line}",
            "code": block.text if block.tag == "python" else markdown_pages.commands(block),
        }
        for block in blocks
    ]
    work = folder / "work"
    work.mkdir()
    source, target = folder / "blocks.json", folder / "results.json"
    source.write_text(json.dumps(rows))
    runner = Path(__file__).with_name("run_page.py")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    done = subprocess.run(
        [sys.executable, str(runner), str(source), str(target)],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text())


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_block_has_a_known_tag(page: Path) -> None:
    for block in markdown_pages.blocks(page):
        assert block.tag in markdown_pages.KNOWN, f"{relative(page)}:{block.line}: {block.tag!r}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_and_every_named_file_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose)
    missing = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"`((?:convnext|docs|tests|tools)/[\w/.-]+)`", prose)
    missing += [name for name in named if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_make_target_is_there(page: Path) -> None:
    named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    makefile = ROOT / "Makefile"
    targets = re.findall(r"^([\w-]+):", makefile.read_text(), re.MULTILINE) if named else []
    assert set(named) <= set(targets)


@pytest.mark.parametrize("name", CLASSES)
def test_signatures_are_the_real_ones(name: str) -> None:
    page = DOCS / name
    text = page.read_text(encoding="utf-8")
    module = importlib.import_module(CLASSES[name].rpartition(".")[0])
    blocks = [block for block in markdown_pages.blocks(page) if block.tag == "signature"]
    written = [one for block in blocks for one in re.split(r"\n(?=\w)", block.text.strip())]
    assert any(one.startswith(CLASSES[name].rpartition(".")[2] + "(") for one in written)
    for signature in written:
        path, _, arguments = signature.partition("(")
        assert documented(arguments) == real(module, path), path
        for parameter, _, _ in real(module, path):
            assert f"| `{parameter}` |" in text, f"{path}: no row for {parameter}"


Parameters = list[tuple[str, str, Any]]  # name, kind, default


def documented(arguments: str) -> Parameters:
    """The parameters of a signature, written as `name(` and then these `arguments`."""
    scope: dict[str, Any] = {"torch": importlib.import_module("torch")}
    exec(f"def function({arguments.rstrip()}: ...", scope)
    return parameters(inspect.signature(scope["function"]))


def real(module: Any, path: str) -> Parameters:
    """The same of the object itself; `Class.__call__` is what calling a model or extractor does."""
    name, _, method = path.partition(".")
    owner = getattr(module, name)
    if method == "__call__":
        method = next(m for m in ("forward", "call", "__call__") if hasattr(owner, m))
    signature = inspect.signature(getattr(owner, method) if method else owner)
    if dataclasses.is_dataclass(owner) and not method:
        fields = {f.name: f for f in dataclasses.fields(owner)}
        signature = signature.replace(
            parameters=[
                p.replace(default=fields[p.name].default_factory())  # type: ignore[misc]
                if repr(p.default) == "<factory>"
                else p
                for p in signature.parameters.values()
            ]
        )
    return parameters(signature)


def parameters(signature: inspect.Signature) -> Parameters:
    return [
        (p.name, p.kind.description, p.default)
        for p in signature.parameters.values()
        if p.name not in ("self", "_cls")
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_pages_leave_out_nothing_public(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    module, _, attribute = CLASSES[name].rpartition(".")
    cls = getattr(importlib.import_module(module), attribute)
    public = {
        member
        for base in cls.__mro__
        if base.__module__.startswith("convnext.")
        for member in vars(base)
        if not member.startswith("_")
    }
    missing = {m for m in public - NOT_CALLED if not re.search(rf"`[^`]*\b{m}\b[^`]*`", text)}
    assert not missing


def test_every_public_name_is_documented() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    missing = [name for name in convnext.__all__ if not re.search(rf"\b{name}\b", text)]
    assert not missing


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins so, without backticks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    rows = lines[start + 2 :]
    rows = rows[: next((i for i, row in enumerate(rows) if not row.startswith("|")), len(rows))]
    return [[cell.strip().replace("`", "") for cell in row.split("|")[1:-1]] for row in rows]


def test_the_table_of_dialects_is_the_real_one() -> None:
    written = {row[0]: row[2:] for row in table(DOCS / "dialects.md", "| dialect | whose files |")}
    spelled = {"patch_size": {4: "patch 4"}, "num_stages": {4: "four stages"}}
    spelled["num_channels"] = {3: "three channels"}
    for name, dialect in DIALECTS.items():
        fixed = ", ".join(spelled[field][value] for field, value in dialect.fixed.items())
        assert written.pop(name) == [
            dialect.file or "read only",
            ", ".join(dialect.suffixes),
            "1e-6" if dialect.final_eps == 1e-6 else "in config.json",
            fixed + ("; always has a layer scale" if dialect.needs_scale else ""),
        ]
    assert not written


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
        if levels[other] <= levels[file]
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
