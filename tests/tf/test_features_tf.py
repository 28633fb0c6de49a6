"""The extractor with TensorFlow tensors, in and out."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from convnext.features import ConvNextFeatureExtractor
from convnext.pictures import PictureError
from tests import synthetic

PICTURE = synthetic.picture("50x37-noise")
EXTRACT = ConvNextFeatureExtractor(size=32)
EXPECTED = EXTRACT(Image.fromarray(PICTURE)).pixel_values


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32", "bfloat16"])
def test_tensors_are_pictures(dtype):
    tensor = tf.cast(tf.constant(PICTURE), dtype)
    np.testing.assert_array_equal(EXTRACT(tensor).pixel_values, EXPECTED)
    batch = tf.transpose(tensor, (2, 0, 1))[None]
    np.testing.assert_array_equal(EXTRACT(batch).pixel_values, EXPECTED)
    np.testing.assert_array_equal(EXTRACT(tf.Variable(tensor)).pixel_values, EXPECTED)


def test_fractions():
    fractions = tf.image.convert_image_dtype(PICTURE, tf.float32)
    np.testing.assert_array_equal(EXTRACT([fractions]).pixel_values, EXPECTED)


def test_a_symbolic_tensor_is_refused():
    @tf.function
    def trace(tensor):
        with pytest.raises(PictureError, match="images: "):
            EXTRACT(tensor)
        return tensor

    trace(tf.zeros((8, 8, 3)))


def test_tensorflow_out():
    inputs = EXTRACT([PICTURE], return_tensors="tf")
    assert isinstance(inputs.pixel_values, tf.Tensor)
    np.testing.assert_array_equal(inputs.pixel_values.numpy(), EXPECTED)
    with pytest.raises(TypeError, match="only torch tensors move"):
        inputs.to("cpu")
