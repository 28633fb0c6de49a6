"""ConvNeXt for PyTorch and Keras."""
