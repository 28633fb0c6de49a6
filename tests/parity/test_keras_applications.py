"""keras.applications, in the Keras installed here: its files read, and ours loaded by it."""

import keras
import numpy as np
import pytest
from keras.src.applications.convnext import ConvNeXt

from convnext import PortError, convert
from convnext.checkpoints.checkpoint import open_checkpoint
from tests import loud
from tests.parity import run

# of Keras: that it expects 1 or 3 channels, and that HDF5 files are of yesterday
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TOLERANCE = 5e-6
# in float64, TensorFlow's GELU has a square root of two of float32: measured 9e-10
TOLERANCES = {"float32": TOLERANCE, "float64": 5e-9}
CONFIGS = {
    name: loud.CONFIGS[name]
    for name in ("four stages", "five channels", "no layer scale", "no classes")
}
# file -> dialect
FORMATS = {"x.h5": "keras-applications", "x.weights.h5": "keras3-applications"}


def original(config, **fields):
    """keras.applications' network of a config, logits for (N, H, W, C)."""
    keras.backend.clear_session()
    _, channels, height, width = loud.images(config).shape
    return ConvNeXt(
        depths=config.depths,
        projection_dims=config.hidden_sizes,
        layer_scale_init_value=1e-6 if config.has_layer_scale else None,
        include_preprocessing=False,
        include_top=config.num_labels > 0,
        classes=config.num_labels,
        classifier_activation=None,
        weights=None,
        input_shape=(height, width, channels),
        **({"pooling": "avg"} if config.num_labels == 0 else {}),
        **fields,
    )


def filled(config, seed=11):
    """The same with random weights, loud enough to hear every layer."""
    model = original(config)
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        noise = rng.standard_normal(variable.shape) * 0.3
        kind = variable.path.rpartition("/")[2]
        if kind == "kernel":
            noise /= np.sqrt(np.prod(variable.shape[:-1]))
        elif kind != "bias" and kind != "beta":
            noise = 0.7 + noise / 3
        variable.assign(noise)
    return model


def logits(model, pixels):
    return np.asarray(model(pixels.transpose(0, 2, 3, 1)))


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    """What Keras computes in."""
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx("float32")
    keras.backend.clear_session()


@pytest.mark.parametrize("file", FORMATS)
@pytest.mark.parametrize("name", CONFIGS)
def test_our_files_load_there_and_compute_the_same(name, file, dtype, tmp_path):
    config = CONFIGS[name]
    folder = loud.save(tmp_path / "from", config, loud.weights(config))
    pixels = loud.images(config).astype(dtype)
    expected = run.maps(run.load_ours_pt(folder, dtype), pixels)["logits"]
    convert(folder, tmp_path / file, FORMATS[file], dtype=dtype)
    model = original(config)
    model.load_weights(tmp_path / file)
    found = logits(model, pixels)
    assert found.dtype == dtype
    assert loud.relative(found, expected) <= TOLERANCES[dtype]


@pytest.mark.parametrize("file", ["x.weights.h5", "x.keras", "whole.h5"])
@pytest.mark.parametrize("name", CONFIGS)
def test_its_files_are_read_and_compute_the_same(name, file, tmp_path):
    config = CONFIGS[name]
    model = filled(config)
    pixels = loud.images(config).astype("float32")
    path = tmp_path / file
    (model.save if file in ("x.keras", "whole.h5") else model.save_weights)(path)
    assert open_checkpoint(path).config.depths == config.depths
    convert(path, tmp_path / "to", "huggingface")
    for load in (run.load_ours_pt, run.load_ours_tf):
        found = run.maps(load(tmp_path / "to", "float32"), pixels)["logits"]
        assert loud.relative(found, logits(model, pixels)) <= TOLERANCE


@pytest.mark.parametrize("file", ["x.weights.h5", "x.keras", "whole.h5"])
def test_it_is_found_inside_a_user_s_model(file, tmp_path):
    """With the user's classifier, which a file of weights does not tell from another layer."""
    config = CONFIGS["no classes"]
    outer = keras.Sequential([filled(config), keras.layers.Dense(3, name="mine")])
    path = tmp_path / file
    told = {"head": True} if file == "x.weights.h5" else {}
    (outer.save_weights if told else outer.save)(path)
    if told:
        with pytest.raises(PortError, match="does not tell what takes what"):
            open_checkpoint(path)
    convert(open_checkpoint(path, **told), tmp_path / "to", "huggingface")
    pixels = loud.images(config).astype("float32")
    found = run.maps(run.load_ours_pt(tmp_path / "to", "float32"), pixels)["logits"]
    assert loud.relative(found, logits(outer, pixels)) <= TOLERANCE
