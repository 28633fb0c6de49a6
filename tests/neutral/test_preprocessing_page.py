"""The page on preprocessing shows what was measured."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_is_the_recorded_one():
    path = ROOT / "tools" / "compare_preprocessing.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    recorded = json.loads(tool.REFERENCE.read_text())
    assert recorded.keys() == tool.LIBRARIES.keys()
    assert f"{tool.BEGIN}\n{tool.table(recorded)}\n{tool.END}" in tool.PAGE.read_text()
    assert recorded["transformers-4"]["pixels_equal"] == 1
