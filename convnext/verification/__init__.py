"""Two checkpoints, or one and its original library, on the same images, map by map."""
