"""Every exception of this library that a user can meet."""

from __future__ import annotations


class NotFoundError(OSError):
    """A checkpoint, or a file it needs, is not where it was looked for."""


class PortError(ValueError):
    """A checkpoint that cannot be read, or written, without changing what it computes."""


class ImageError(ValueError):
    """An image that cannot be used: `name` says which, `reason` why and what to do."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class BuildError(RuntimeError):
    """The compiled kernels could not be built, or not loaded."""


class CheckpointWarning(UserWarning):
    """What was assumed, chosen, left out or freshly initialised when a checkpoint was loaded."""


def missing(what: str, *packages: str) -> str:
    """The message of an ImportError: what needs packages, and the command that installs them."""
    names = " and ".join(packages)
    return f"{what} needs {names}: pip install {' '.join(packages)}"
