"""The pages are true: their code runs and prints what they say, what they name is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import markdown_pages
from tests.project.markdown_pages import PAGES, ROOT, RUN, Block, relative

RUNNABLE = [page for page in PAGES if any(b.tag in RUN for b in markdown_pages.blocks(page))]


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


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        new = {page for known in new for page in linked(known)} - reached
    assert not [relative(page) for page in PAGES if page not in reached]


def linked(page: Path) -> set[Path]:
    links = re.findall(r"\]\(([\w./-]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in links}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_make_target_is_there(page: Path) -> None:
    named = re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    makefile = ROOT / "Makefile"
    targets = re.findall(r"^([\w-]+):", makefile.read_text(), re.MULTILINE) if named else []
    assert set(named) <= set(targets)


def test_a_false_output_would_be_found() -> None:
    for said, printed in (("a 0.76", "a 0.77"), ("12 of 12", "11 of 12"), ("a", "b"), ("a", "")):
        assert markdown_pages.differences(said, printed)
    for said, printed in (("0.7635", "0.7636"), ("x 3.1e-07", "x 0.0"), (".../b c", "/a/b c")):
        assert not markdown_pages.differences(said, printed)
