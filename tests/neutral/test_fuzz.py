"""Damaged files at random: refused, or loaded as the config says. `make fuzz` takes far more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convnext.checkpoints.checkpoint import open_checkpoint
from tests import mutations

SEEDS = st.integers(0, 2**32)


HOLDERS = ["safetensors", "h5", "keras"]  # of tensors


@pytest.fixture(scope="module")
def victim(request, tmp_path_factory):
    return mutations.Victim(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("victim", [*HOLDERS, "h5-latest", "pth", "index-json"], indirect=True)
@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_damaged_files(victim, seed):
    damaged = victim.damage(seed)
    assert damaged != victim.data
    victim.outcome(damaged)


@pytest.mark.parametrize("victim", HOLDERS, indirect=True)
@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_a_flipped_bit_in_a_tensor_changes_that_tensor_only(victim, seed):
    values = sorted(set(range(len(victim.data))) - set(victim.structure))
    at = values[seed % len(values)]
    before = arrays(victim, victim.data)
    damaged = bytearray(victim.data)
    damaged[at] ^= 1 << seed % 8
    after = arrays(victim, bytes(damaged))
    changed = [name for name in before if before[name].tobytes() != after[name].tobytes()]
    assert len(changed) == 1


def arrays(victim, data) -> dict[str, np.ndarray]:
    victim.path.write_bytes(data)
    tensors = open_checkpoint(victim.path.parent).tensors
    return {name: tensor.read() for name, tensor in tensors.items()}
