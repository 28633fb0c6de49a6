"""Keep TensorFlow's start-up messages off the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# Reads to the end, and repeats what it read unless the last byte says that all went well.
_KEEPER = (
    "import sys; said = sys.stdin.buffer.read(); "
    "said.endswith(b'\\0') or sys.stderr.buffer.write(said)"
)


@contextmanager
def quiet_stderr() -> Iterator[TextIO]:
    """Hide what the process writes to its stderr, unless the block fails or the process dies.

    TensorFlow's libraries write to the file descriptor itself, before any option can stop them.
    Another process keeps what they say, so that it outlives this one. Gives the real stderr.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    keeper = subprocess.Popen([sys.executable, "-I", "-S", "-c", _KEEPER], stdin=subprocess.PIPE)
    assert keeper.stdin is not None
    os.dup2(keeper.stdin.fileno(), 2)
    keeper.stdin.close()
    try:
        with os.fdopen(os.dup(kept), "w") as real:
            yield real
    except ImportError:
        raise
    except BaseException:
        os.write(2, b"\0")
        raise
    else:
        os.write(2, b"\0")
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        keeper.wait()
