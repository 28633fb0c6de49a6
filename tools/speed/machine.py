"""What is asked of the machine: its processor, this process' memory, its memory given back."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
# the instructions that decide how fast products of matrices are; flag -> its usual name
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
}


def processor() -> str:
    """Its name, cores and instructions, as far as the system tells them."""
    facts = cpuinfo()
    flags = facts.get("flags", "").split()
    found = [name for flag, name in INSTRUCTIONS.items() if flag in flags]
    name = facts.get("model name") or platform.processor() or platform.machine()
    return ", ".join([name, f"{os.cpu_count()} cores", *found])


def cpuinfo() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    pairs = (line.partition(":") for line in lines[: lines.index("") if "" in lines else None])
    return {key.strip(): value.strip() for key, _, value in pairs}


def resident(field: str) -> int:
    """Bytes of this process that are in memory now (VmRSS), or ever were (VmHWM)."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def forget_peak() -> None:
    """From now on VmHWM is the most from now on."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def give_back() -> None:
    """Return freed memory to the system, so that workers that wait hold little."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
