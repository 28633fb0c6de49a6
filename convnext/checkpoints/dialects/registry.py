"""Every dialect by name, and which of them are written."""

from __future__ import annotations

from convnext.checkpoints.dialects import huggingface, keras, pytorch

_ALL = (
    huggingface.HUGGINGFACE,
    huggingface.HUGGINGFACE_TF,
    huggingface.HUGGINGFACE_TF_FLAT,
    pytorch.FACEBOOK,
    pytorch.TIMM,
    pytorch.TIMM_CONV,
    pytorch.TIMM_FIRST,
    pytorch.TIMM_FEATURES,
    pytorch.TIMM_FEATURES_CONV,
    pytorch.TORCHVISION,
    pytorch.OPENMMLAB,
    pytorch.OPENMMLAB_CONV,
    pytorch.OPENMMLAB_DENSE,
    pytorch.OPENMMLAB_DENSE_CONV,
    keras.CONVNEXT_KERAS,
    keras.KERAS_APPLICATIONS,
    keras.KERAS_APPLICATIONS_NOTOP,
    keras.KERAS3_APPLICATIONS,
)

# What files are recognised in.
DIALECTS = {dialect.name: dialect for dialect in _ALL}

# What they are written in: those with a `file` that are not another's way to leave out the head.
WRITTEN = tuple(
    dialect.name
    for dialect in _ALL
    if dialect.file and dialect.name not in {other.headless for other in _ALL}
)
