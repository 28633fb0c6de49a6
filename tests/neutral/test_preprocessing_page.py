"""The page on preprocessing shows what was measured."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "preprocessing.md"


def test_the_table_is_the_recorded_one(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    path = ROOT / "tools" / "compare_preprocessing.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    recorded = json.loads(tool.REFERENCE.read_text())
    assert recorded.keys() == tool.LIBRARIES.keys()
    assert f"{tool.BEGIN}\n{tool.table(recorded)}\n{tool.END}" in PAGE.read_text(encoding="utf-8")
    assert recorded["transformers-4"]["pixels_equal"] == 1
