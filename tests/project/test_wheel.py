"""The wheel is the whole product: installed elsewhere, it runs with its bundled network."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, cwd, **environment):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that the clone stays as it is."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("convnext", "pyproject.toml", "README.md", "LICENSE"):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", "dist", "."]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    return next((copy / "dist").glob("convnext-*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_it_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2  # the package and its metadata
    for name in ("py.typed", "bundle/model.safetensors", "bundle/golf_ball.jpg", "cli/__init__.py"):
        assert f"convnext/{name}" in names
    assert wheel.stat().st_size < 8e6
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_it_runs_outside_the_clone(site, framework, tmp_path):
    environment = {"PYTHONPATH": str(site), "TF_CPP_MIN_LOG_LEVEL": "3", "HOME": str(tmp_path)}
    where = run(sys.executable, "-c", "import convnext; print(convnext.__file__)",
                cwd=tmp_path, **environment)  # fmt: skip
    assert where.strip() == str(site / "convnext" / "__init__.py")
    images = [str(site / "convnext" / "bundle" / f"{n}.jpg") for n in ("golf_ball", "parachute")]
    command = [sys.executable, "-m", "convnext", "classify", *images, "--json"]
    rows = json.loads(run(*command, "--framework", framework, cwd=tmp_path, **environment))
    assert [row["labels"][0]["label"] for row in rows] == ["golf ball", "parachute"]
    assert all(0.7 < row["labels"][0]["probability"] < 0.9 for row in rows)
