"""As neutral/test_fuzz.py, of the files that only torch writes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import mutations


@pytest.fixture(scope="module", params=["legacy-pth"])
def victim(request, tmp_path_factory):
    return mutations.Victim(request.param, tmp_path_factory.mktemp(request.param))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_damaged_files(victim, seed):
    damaged = victim.damage(seed)
    assert damaged != victim.data
    victim.outcome(damaged)
