"""The pages of the classes leave nothing out, and their signatures are the real ones."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

import pytest

import convnext
from tests.project import markdown_pages
from tests.project.markdown_pages import DOCS

# page -> the class that it is about
CLASSES = {
    "config.md": "convnext.ConvNextConfig",
    "feature-extractor.md": "convnext.ConvNextFeatureExtractor",
    "outputs.md": "convnext.ConvNextModelOutput",
    "open-checkpoint.md": "convnext.Checkpoint",
    "verify.md": "convnext.Verification",
    "classify.md": "convnext.Classification",
    "pt-model.md": "convnext.pt.ConvNextModel",
    "pt-classification.md": "convnext.pt.ConvNextForImageClassification",
    "tf-model.md": "convnext.tf.TFConvNextModel",
    "tf-classification.md": "convnext.tf.TFConvNextForImageClassification",
}
# documented by what they do: export by `export`, loss and metrics by `fit`
NOT_CALLED = {
    "build", "call", "forward", "compute_loss", "compute_metrics", "from_config",
    "get_config", "parts",
}  # fmt: skip


# pages that name everything by its whole path, and what they must have
WHOLE_PATHS = {
    "fast.md": {"convnext.pt.fast", "convnext.tf.fast"},
    "open-checkpoint.md": {"convnext.open_checkpoint", "convnext.recognise", "convnext.Checkpoint"},
    "verify.md": {"convnext.verify", "convnext.Verification", "convnext.Difference"},
    "classify.md": {"convnext.classify", "convnext.Classification", "convnext.Classified"},
}


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in WHOLE_PATHS])
def test_signatures_are_the_real_ones(name: str) -> None:
    module, _, cls = CLASSES[name].rpartition(".")
    written = signatures(name)
    assert any(one.startswith(f"{cls}(") for one in written)
    check(name, {f"{module}.{one}" for one in written})


@pytest.mark.parametrize("name", WHOLE_PATHS)
def test_those_of_functions_too(name: str) -> None:
    written = signatures(name)
    assert {one.partition("(")[0] for one in written} >= WHOLE_PATHS[name]
    check(name, set(written))


def signatures(name: str) -> list[str]:
    """Those that a page has."""
    blocks = [block for block in markdown_pages.blocks(DOCS / name) if block.tag == "signature"]
    return [one for block in blocks for one in re.split(r"\n(?=\w)", block.text.strip())]


def check(name: str, written: set[str]) -> None:
    """Each is that of the real thing, and the page has a row for every parameter."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for signature in written:
        path, _, arguments = signature.partition("(")
        folder, rest = re.fullmatch(r"(convnext(?:\.pt|\.tf)?)\.(.+)", path).groups()  # type: ignore[union-attr]
        found = real(importlib.import_module(folder), rest)
        assert comparable(documented(arguments)) == comparable(found), path
        for parameter, _, _ in found:
            assert re.search(rf"\| [^|]*`{parameter}`[^|]* \|", text), (
                f"{path}: no row for {parameter}"
            )


Parameters = list[tuple[str, str, Any]]  # name, kind, default


def documented(arguments: str) -> Parameters:
    """The parameters of a signature, written as `name(` and then these `arguments`."""
    scope: dict[str, Any] = {"torch": importlib.import_module("torch")}
    exec(f"def function({arguments.rstrip()}: ...", scope)
    return parameters(inspect.signature(scope["function"]))


def comparable(found: Parameters) -> Parameters:
    """With the code of a lambda for the lambda, which equals no other."""
    return [
        (name, kind, default.__code__.co_code if inspect.isfunction(default) else default)
        for name, kind, default in found
    ]


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
