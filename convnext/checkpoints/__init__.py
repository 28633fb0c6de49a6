"""A path <-> a checkpoint: every parameter by name and shape, recognition, conversion."""
