"""The extractor with TensorFlow tensors, in and out."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from convnext.errors import ImageError
from convnext.images.extractor import ConvNextFeatureExtractor
from tests import synthetic

IMAGE = synthetic.image("50x37-noise")
EXTRACT = ConvNextFeatureExtractor(size=32)
EXPECTED = EXTRACT(Image.fromarray(IMAGE)).pixel_values


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32", "bfloat16"])
def test_tensors_are_images(dtype):
    tensor = tf.cast(tf.constant(IMAGE), dtype)
    np.testing.assert_array_equal(EXTRACT(tensor).pixel_values, EXPECTED)
    batch = tf.transpose(tensor, (2, 0, 1))[None]
    np.testing.assert_array_equal(EXTRACT(batch).pixel_values, EXPECTED)
    np.testing.assert_array_equal(EXTRACT(tf.Variable(tensor)).pixel_values, EXPECTED)


def test_fractions():
    fractions = tf.image.convert_image_dtype(IMAGE, tf.float32)
    np.testing.assert_array_equal(EXTRACT([fractions]).pixel_values, EXPECTED)


def test_a_symbolic_tensor_is_refused():
    @tf.function
    def trace(tensor):
        with pytest.raises(ImageError, match="images: "):
            EXTRACT(tensor)
        return tensor

    trace(tf.zeros((8, 8, 3)))


def test_tensorflow_out():
    inputs = EXTRACT([IMAGE], return_tensors="tf")
    assert isinstance(inputs.pixel_values, tf.Tensor)
    np.testing.assert_array_equal(inputs.pixel_values.numpy(), EXPECTED)
    with pytest.raises(TypeError, match="only torch tensors move"):
        inputs.to("cpu")
