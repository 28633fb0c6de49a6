"""The command `convnext`: thin commands over the other rooms. Nothing imports it."""
