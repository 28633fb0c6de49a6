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
# what, the beginning of the records' title, ours, its peers in float32 and in bfloat16
GROUPS = [
    ("PyTorch as is", "PyTorch, inference, tiny", "ours", [EAGER], [EAGER]),
    ("Keras as is", "Keras, inference, tiny", "ours (Keras)", KERAS, KERAS),
    ("PyTorch training step", "PyTorch, training, tiny", "ours", [EAGER], [EAGER]),
    ("Keras training step", "Keras, training, tiny", "ours (Keras)", KERAS, KERAS),
    ("`fast`", "PyTorch, inference, tiny", "ours fast", [OPENVINO], [FROZEN]),
    ("`fast`, ConvNeXt-B", "PyTorch, inference, base", "ours fast", [OPENVINO], [FROZEN]),
    ("`fast` in Keras", "Keras, inference, tiny", "ours fast (Keras)", KERAS[:1], KERAS[:1]),
]
TABLE = [
    Ratio(f"{what}, {name}, batch {batch}", f"{title}, {dtype}, batch {batch}", ours, *peer)
    for what, title, ours, in_float32, in_bfloat16 in GROUPS
    for name, dtype, peers in (("float32", "fp32", in_float32), ("bfloat16", "bf16", in_bfloat16))
    for batch in (8, 1, 32)
    for peer in peers
]
LOADING = "Loading ConvNeXt, large"
TABLE += [
    Ratio("loading ConvNeXt-L, PyTorch", LOADING, "ours", "transformers", "transformers"),
    Ratio("loading ConvNeXt-L, Keras", LOADING, "ours", *KERAS[2]),
]


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
    rows = [[one.what, one.peers, *(ratio(one, found, cpu) for cpu in cpus)] for one in TABLE]
    measured = (row for row in rows if any(row[2:]))
    return pages.table(["case", "fastest of", *cpus], measured)
