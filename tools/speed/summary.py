"""The ratios that matter, for each kind of CPU: the table of docs/speed.md, from the records."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from speed import pages, records

MARKS = ("<!-- ratios -->", "<!-- /ratios -->")


class Ratio(NamedTuple):
    """The fastest of some peers beside one of ours."""

    what: str
    title: str  # of the records
    ours: str
    peers: str
    pattern: str  # of the peers' names, whole


EAGER = ("eager PyTorch", r".* (nchw|channels_last)|eager")
FROZEN = ("`torch.compile`, frozen", r".*freezing")
OPENVINO = ("OpenVINO", "OpenVINO")
KERAS = (
    ("zeromodels", "zeromodels .*"),
    ("keras.applications", r"keras\.applications .*"),
    ("transformers, TensorFlow", "transformers TF .*"),
)
CASES = [
    (f"{name}, batch {batch}", f"{dtype}, batch {batch}")
    for name, dtype in (("float32", "fp32"), ("bfloat16", "bf16"))
    for batch in (8, 1, 32)
]
LOADING = "Loading ConvNeXt, large"


def _table() -> list[Ratio]:
    """PyTorch, training, Keras, fast and loading; those that no CPU has are left out."""
    found = []
    for mode, name in (("inference", "as is"), ("training", "training step")):
        for what, case in CASES:
            found.append(Ratio(
                f"PyTorch {name}, {what}", f"PyTorch, {mode}, tiny, {case}", "ours", *EAGER
            ))  # fmt: skip
        for what, case in CASES:
            title = f"Keras, {mode}, tiny, {case}"
            found += [Ratio(f"Keras {name}, {what}", title, "ours (Keras)", *p) for p in KERAS]
    for size, name in (("tiny", "`fast`"), ("base", "`fast`, ConvNeXt-B")):
        for what, case in CASES:
            peers = OPENVINO if "fp32" in case else FROZEN
            title = f"PyTorch, inference, {size}, {case}"
            found.append(Ratio(f"{name}, {what}", title, "ours fast", *peers))
    for what, case in CASES:
        title = f"Keras, inference, tiny, {case}"
        found.append(Ratio(f"`fast` in Keras, {what}", title, "ours fast (Keras)", *KERAS[0]))
    torch = ("transformers", "transformers")
    found.append(Ratio("loading ConvNeXt-L, PyTorch", LOADING, "ours", *torch))
    found.append(Ratio("loading ConvNeXt-L, Keras", LOADING, "ours", *KERAS[2]))
    return found


def ratio(one: Ratio, found: list[dict[str, Any]], cpu: str) -> str:
    """On that kind of CPU, more than 1 where ours is faster; empty where it is not measured."""
    for record in found:
        if (record["cpu"], record["title"]) == (cpu, one.title):
            column = f"times {one.ours}"
            rows = record["rows"].items()
            peers = [
                records.median(row[column])
                for name, row in rows
                if column in row and re.fullmatch(one.pattern, name)
            ]
            mark = f", {record['kernels']}" if record["kernels"] and "fast" in one.ours else ""
            return f"{min(peers):.2f}{mark}" if peers else ""
    return ""


def markdown(found: list[dict[str, Any]]) -> str:
    cpus = sorted({record["cpu"] for record in found})
    rows = [[one.what, one.peers, *(ratio(one, found, cpu) for cpu in cpus)] for one in _table()]
    measured = (row for row in rows if any(row[2:]))
    return pages.table(["case", "fastest of", *cpus], measured)
