"""One module for each container of weights. They know bytes, never ConvNeXt."""
