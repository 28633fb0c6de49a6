"""Checkpoint folders to work on, and what is in them."""

from convnext.checkpoints.checkpoint import open_checkpoint
from tests import loud

CONFIG = loud.CONFIGS["four stages"]


def checkpoint(folder, config=CONFIG, dtype="float32"):
    arrays = {name: value.astype(dtype) for name, value in loud.weights(config).items()}
    return loud.save(folder, config, arrays)


def bits(source):
    tensors = open_checkpoint(source).tensors
    return {name: (tensor.dtype, tensor.read().tobytes()) for name, tensor in tensors.items()}


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class DiskFullError(OSError):
    """What a test raises in the middle of writing."""
