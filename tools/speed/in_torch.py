"""Subjects that PyTorch runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch._inductor.config
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.config import ConvNextConfig
from convnext.verification import originals
from speed import checkpoints, facebook
from speed.subjects import Case, Prepared, Subject

RATE = 1e-8  # of the optimiser: a step as any other, after which the network is still the same


Build = Callable[[Path, ConvNextConfig, torch.dtype], nn.Module]


def ours(path: Path, config: ConvNextConfig, dtype: torch.dtype) -> nn.Module:
    from convnext.pt import ConvNextForImageClassification

    return ConvNextForImageClassification.from_pretrained(path, dtype=dtype)


def fast(path: Path, config: ConvNextConfig, dtype: torch.dtype) -> nn.Module:
    from convnext.pt import fast

    return fast(ours(path, config, torch.float32), dtype=dtype)


def transformers(path: Path, config: ConvNextConfig, dtype: torch.dtype) -> nn.Module:
    from transformers import ConvNextForImageClassification as Network

    model, info = Network.from_pretrained(path, dtype=dtype, output_loading_info=True)
    missed = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    assert not missed, info
    return model


def strictly(build: Callable[[ConvNextConfig], nn.Module]) -> Build:
    """A network that is built for a config and takes a file by load_state_dict."""

    def load(path: Path, config: ConvNextConfig, dtype: torch.dtype) -> nn.Module:
        model = build(config)
        model.load_state_dict(_state(path), strict=True)
        return model.to(dtype)

    return load


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    content = torch.load(path)
    return content.get("model", content)


NETWORKS: dict[str, Build] = {
    "ours": ours,
    "fast": fast,
    "transformers": transformers,
    "timm": strictly(lambda config: originals.timm(config, "timm")),
    "torchvision": strictly(lambda config: originals.torchvision(config, "torchvision")),
    "facebook": strictly(facebook.ConvNeXt),
}


def prepare(subject: Subject, case: Case, path: Path) -> Prepared:
    """Images, weights and the function that is timed."""
    dtype = torch.bfloat16 if case.dtype == "bf16" else torch.float32
    model = NETWORKS[subject.network](path, checkpoints.config_of(case.size), dtype)
    images, labels = map(torch.from_numpy, checkpoints.inputs(case.batch, case.image))
    images = images.to(dtype)
    if subject.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    model.train(case.mode == "training")
    if subject.compiler:
        # not by torch.compile's options, which do not reach the choice of the freezing compiler
        torch._inductor.config.freezing = subject.compiler == "freezing"
        model = torch.compile(model)

    def logits() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=case.dtype == "autocast"):
            output = model(images)
        return getattr(output, "logits", output)

    return inference(logits) if case.mode == "inference" else training(model, logits, labels)


def inference(logits: Callable[[], Tensor]) -> Prepared:
    call = torch.inference_mode()(logits)
    return Prepared(call, lambda: {"logits": call().float().numpy()})


def training(model: nn.Module, logits: Callable[[], Tensor], labels: Tensor) -> Prepared:
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)

    def gradients() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(logits().float(), labels)
        loss.backward()
        return loss.detach()

    def step() -> None:
        gradients()
        optimiser.step()

    def result() -> dict[str, np.ndarray]:
        loss = gradients()
        squares = sum(p.grad.double().square().sum() for p in model.parameters())
        return {"loss": loss.numpy(), "gradient": squares.sqrt().numpy()}

    return Prepared(step, result)


def forget() -> None:
    torch.compiler.reset()  # so that the next case is compiled for its own shapes
