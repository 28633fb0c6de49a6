"""Anything a user holds as an image -> `pixel_values`: the feature extractor."""
