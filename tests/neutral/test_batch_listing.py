"""Folders, patterns and lists become the paths of images."""

import io
import os
import sys
from types import SimpleNamespace

import pytest

from convnext.images import listing


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b/2.JPG", "b/1.png", "a/deep/3.webp", "b/notes.txt", ".hidden/4.png", "b/.5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(*names):
    return list(listing.images(names))


def test_a_folder_is_every_image_below_it_in_order(folder):
    assert listed(".") == ["./a/deep/3.webp", "./b/1.png", "./b/2.JPG"]


def test_files_stay_as_they_are_and_in_their_order(folder):
    assert listed("b/notes.txt", "missing.jpg", "b/1.png") == [
        "b/notes.txt",
        "missing.jpg",
        "b/1.png",
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("b/*.png", ["b/1.png"]),
        ("*/[12].*", ["b/1.png", "b/2.JPG"]),
        ("**/*.webp", ["a/deep/3.webp"]),
        ("[ab]", ["a/deep/3.webp", "b/1.png", "b/2.JPG"]),
    ],
)
def test_patterns(folder, pattern, found):
    assert listed(pattern) == found


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder):
    (folder / "x[1].png").touch()
    (folder / "x1.png").touch()
    assert listed("x[1].png") == ["x[1].png"]


def test_linked_folders_are_followed_but_not_in_circles(folder):
    os.symlink(folder / "b", folder / "a" / "link")
    os.symlink(folder / "a", folder / "a" / "deep" / "up")
    assert listed("a") == ["a/deep/3.webp", "a/link/1.png", "a/link/2.JPG"]


def test_standard_input_may_hold_any_name(monkeypatch):
    lines = io.BytesIO(b"a.png\r\n\nb \xff.png\nlast.png")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=lines))
    assert listed("-") == ["a.png", os.fsdecode(b"b \xff.png"), "last.png"]


@pytest.mark.parametrize(
    ("name", "message"), [(".hidden/none", None), ("empty", "no images"), ("*.tga", "matches")]
)
def test_nothing_found_is_an_error_unless_it_is_a_file_by_name(folder, name, message):
    (folder / "empty").mkdir()
    if message is None:
        assert listed(name) == [name]
    else:
        with pytest.raises(FileNotFoundError, match=message):
            listed(name)
