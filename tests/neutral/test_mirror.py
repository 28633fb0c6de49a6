"""The two networks are one text in two frameworks: same classes, attributes and arguments."""

import ast
from pathlib import Path

import convnext

ROOT = Path(convnext.__file__).parent
# what Keras needs besides: precision, formats, generators of random numbers, flat maps
ONLY_KERAS = {"width", "seed_generator"}
ONLY_TORCH = {"made_of", "checkpointing"}


def classes(framework: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse((ROOT / framework / "model.py").read_text())
    return {
        node.name.removeprefix("TF"): node for node in tree.body if isinstance(node, ast.ClassDef)
    }


def attributes(node: ast.ClassDef) -> list[str]:
    """Names that __init__ sets on self, in order."""
    init = next(f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
    targets = [
        target
        for statement in ast.walk(init)
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        )
    ]
    found = [t for t in targets if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name)]
    ordered = sorted(found, key=lambda target: target.lineno)
    return [t.attr for t in ordered if t.value.id == "self"]


def arguments(node: ast.ClassDef, method: str) -> list[str]:
    call = next(f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == method)
    return [argument.arg for argument in call.args.args]


def test_the_same_classes_in_the_same_order():
    assert list(classes("pt")) == list(classes("tf"))
    assert len(classes("pt")) == 7


def test_the_same_attributes_in_the_same_order():
    for name, pt in classes("pt").items():
        tf = classes("tf")[name]
        ours = [a for a in attributes(pt) if a not in ONLY_TORCH]
        theirs = [a for a in attributes(tf) if a not in ONLY_KERAS]
        assert ours == theirs, name


def test_the_same_arguments_in_the_same_order():
    for name in ("ConvNextModel", "ConvNextForImageClassification"):
        pt, tf = classes("pt")[name], classes("tf")[name]
        assert [*arguments(pt, "forward"), "training"] == arguments(tf, "call")


def test_both_know_every_activation():
    for framework in ("pt", "tf"):
        tree = ast.parse((ROOT / framework / "model.py").read_text())
        table = next(
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and "ACTIVATIONS" in ast.unparse(node)
        )
        assert tuple(key.value for key in table.keys) == convnext.config.ACTIVATIONS
