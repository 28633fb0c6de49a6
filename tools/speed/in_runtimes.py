"""Subjects that an inference runtime runs: timm's network, exported."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from speed import checkpoints, in_torch
from speed.subjects import Case, Prepared, Subject

Run = Callable[[np.ndarray], np.ndarray]


def onnxruntime(model: torch.nn.Module, example: torch.Tensor, dtype: str) -> Run:
    from onnxruntime import InferenceSession

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without further packages is deprecated
        path = f"{folder}/model.onnx"
        torch.onnx.export(model, (example,), path, input_names=["images"], dynamo=False)
        session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def openvino(model: torch.nn.Module, example: torch.Tensor, dtype: str) -> Run:
    from openvino import Core, convert_model

    converted = convert_model(model, example_input=example, input=list(example.shape))
    # by itself it computes in bf16 where the processor can
    precision = {"fp32": "f32", "bf16": "bf16"}[dtype]
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = Core().compile_model(converted, "CPU", options)
    return lambda images: compiled(images)[0]


NETWORKS = {"onnxruntime": onnxruntime, "openvino": openvino}


def prepare(subject: Subject, case: Case, path: Path) -> Prepared:
    build = in_torch.NETWORKS["timm"]
    model = build(path, checkpoints.config_of(case.size), torch.float32).eval()
    images, _ = checkpoints.inputs(case.batch, case.image)
    run = NETWORKS[subject.network](model, torch.from_numpy(images), case.dtype)
    return Prepared(lambda: run(images), lambda: {"logits": run(images)})
