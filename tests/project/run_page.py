"""Run the blocks of one page in one process: python run_page.py BLOCKS.json RESULTS.json

Python blocks share one namespace, shell blocks one environment. Stops at the first failure.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


def run_python(code: str, name: str, namespace: dict[str, Any]) -> tuple[str, str]:
    """What it prints, and the traceback if it fails."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), namespace)
    except Exception:
        return printed.getvalue(), traceback.format_exc()
    return printed.getvalue(), ""


def run_shell(commands: str, tag: str, environment: dict[str, str]) -> tuple[str, str]:
    """What it prints, and what it complains of if its status is not 0.

    A console shows errors too and goes on after them; what it shows is all compared.
    """
    after = Path("environment").absolute()
    options = "exec 2>&1; set -a" if tag == "console" else "set -euo pipefail -a"
    script = f"{options}\n{commands}\nenv -0 > {after}\n"
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        return done.stdout, f"status {done.returncode}\n{done.stdout}{done.stderr}"
    environment.update(row.split("=", 1) for row in after.read_text().split("\0") if "=" in row)
    after.unlink()
    return done.stdout, ""


def main(source: str, target: str) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    environment = dict(os.environ)
    results = []
    for block in json.loads(Path(source).read_text()):
        if block["tag"] == "python":
            printed, error = run_python(block["code"], block["name"], namespace)
        else:
            printed, error = run_shell(block["code"], block["tag"], environment)
        results.append({"printed": printed, "error": error})
        if error:
            break
    Path(target).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
