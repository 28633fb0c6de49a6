"""What is asked of the machine: its processor, this process' memory, its memory given back."""

from __future__ import annotations

import ctypes
import gc
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
ZEN = {"23": "Zen 2 or older", "26": "Zen 5"}  # AMD's families of one generation


def processor() -> str:
    """Its name, cores and instructions, as far as the system tells them."""
    facts = cpuinfo()
    name = facts.get("model name") or platform.processor() or platform.machine()
    return ", ".join([name, f"{os.cpu_count()} cores", *_instructions(facts)])


def kind(facts: dict[str, str]) -> str:
    """The kind of CPU that figures are kept for, such as "AMD, Zen 5" or "Intel, AMX"."""
    found = _instructions(facts) or [platform.machine()]
    if facts.get("vendor_id") == "AuthenticAMD":
        family = facts.get("cpu family", "")
        return f"AMD, {ZEN.get(family, 'Zen 4' if 'AVX-512' in found else 'Zen 3')}"
    maker = "Intel" if facts.get("vendor_id") == "GenuineIntel" else platform.system()
    return f"{maker}, {found[-1].removesuffix(' BF16') if 'AMX' in found[-1] else found[-1]}"


def _instructions(facts: dict[str, str]) -> list[str]:
    flags = facts.get("flags", "").split()
    return [name for flag, name in INSTRUCTIONS.items() if flag in flags]


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
    """Collect garbage and return freed memory to the system, so that who waits holds little."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
