"""Key lists and HDF5 trees of the real libraries, old releases too: recognised, or refused by name.

All are of one network: depths (1, 1, 2, 1), widths (8, 16, 32, 64), 11 classes.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from convnext import PortError
from convnext.checkpoints.recognition import recognise
from convnext.checkpoints.tensors import Tensor
from tests.data import DATA

NAMES = DATA.parent / "reference" / "names"

RECOGNISED = {
    "hf_tf_bare_tf_model_h5": "huggingface-tf",
    "hf_tf_cls_eps1e-6_tf_model_h5": "huggingface-tf",
    "hf_tf_cls_in1_patch8_tf_model_h5": "huggingface-tf",
    "hf_tf_cls_nols_tf_model_h5": "huggingface-tf",
    "hf_tf_cls_tf_model_h5": "huggingface-tf",
    "hf_tf_safetensors": "huggingface-tf-flat",
    "keras2_a_keras2.10rc_var_in_init_weights_h5": "keras-applications",
    "keras2_b_keras2.10-2.11_var_in_build_weights_h5": "keras-applications",
    "keras2_c_keras2.12-2.15_add_weight_unnamed_weights_h5": "keras-applications",
    "keras2_d_tfkeras2.16+_gamma_weights_h5": "keras-applications",
    "keras2_full_model_h5": "keras-applications",
    "keras3_legacy_full_h5": "keras-applications",
    "keras2_dot_weights_h5": "keras3-applications",
    "keras2_dotkeras_model_weights_h5": "keras3-applications",
    "keras3_dotkeras_model_weights_h5": "keras3-applications",
    "keras3_weights_h5": "keras3-applications",
    "keys_fb": "facebook",
    "keys_fb_seg_backbone": "facebook",
    "keys_hf_pt_backbone": "huggingface",
    "keys_hf_pt_bare": "huggingface",
    "keys_hf_pt_cls": "huggingface",
    "keys_mm_dense_backbone": "openmmlab-dense",
    "keys_mm_linear_pw_conv_False": "openmmlab-conv",
    "keys_mm_linear_pw_conv_True": "openmmlab",
    "keys_mm_no_layer_scale": "openmmlab",
    "keys_timm_act_gelu_tanh_as_test_convnext_": "timm",
    "keys_timm_conv_mlp_False": "timm",
    "keys_timm_conv_mlp_True": "timm-conv",
    "keys_timm_features_only": "timm-features-conv",
    "keys_timm_in_chans_1": "timm",
    "keys_timm_ls_init_value_None": "timm",
    "keys_timm_norm_eps_1e_5_as_xxlarge_": "timm",
    "keys_timm_num_classes_0": "timm",
    "keys_timm_output_stride_16": "timm",
    "keys_torchvision": "torchvision",
}
REFUSED = {
    "hf_tf_sharded_shard1": "missing convnext/layernorm/beta:0",
    "hf_tf_v2_tf_model_h5": "ConvNeXt V2",
    "keys_fb_isotropic": "isotropic",
    "keys_fb_v2": "ConvNeXt V2",
    "keys_hf_pt_v2": "ConvNeXt V2",
    "keys_mm_V2_use_grn_": "ConvNeXt V2",
    "keys_timm_V2_use_grn_conv_mlp_False": "ConvNeXt V2",
    "keys_timm_V2_use_grn_conv_mlp_True": "ConvNeXt V2",
    "keys_timm_conv_bias_False": "missing stages.0.blocks.0.conv_dw.bias",
    "keys_timm_global_pool_": "unexpected head.fc.weight (11, 64, 1, 1)",
    "keys_timm_head_hidden_size_24_as_large_mlp_": "classifier with a hidden layer",
    "keys_timm_head_norm_first": "norm before the pooling",
    "keys_timm_patch_size_8": "patch_size 4, got 8",
}


def tensors(name: str) -> dict[str, Tensor]:
    found = {}
    for line in (NAMES / f"{name}.txt").read_text().splitlines():
        if match := re.match(r"(?:D /)?(\S+)\s+(\([\d, ]*\))", line):
            shape = tuple(int(n) for n in re.findall(r"\d+", match[2]))
            found[match[1]] = Tensor(shape, "float32", lambda shape=shape: np.zeros(shape))
    return found


def test_every_list_is_judged():
    assert {path.stem for path in Path(NAMES).glob("*.txt")} == {*RECOGNISED, *REFUSED}


@pytest.mark.parametrize("name", RECOGNISED)
def test_recognised(name):
    found = recognise(tensors(name))
    assert found.dialect.name == RECOGNISED[name]
    assert (found.config.depths, found.config.hidden_sizes) == ((1, 1, 2, 1), (8, 16, 32, 64))
    assert found.config.num_labels == (11 if found.parts.head else 0)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    with pytest.raises(PortError) as error:
        recognise(tensors(name))
    assert REFUSED[name] in str(error.value)
