"""The CPU of this machine, by name."""

import platform
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")


def cpu_name(info: Path = CPU_INFO) -> str:
    """As the system tells it, with what decides the speed of 8-bit products: AVX2, VNNI, AMX."""
    try:
        lines = info.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    known = {"avx2": "AVX2", "avx512_vnni": "VNNI", "avx_vnni": "VNNI", "amx_int8": "AMX"}
    flags = set(fields.get("flags", "").split())
    has = sorted({name for flag, name in known.items() if flag in flags})
    return " ".join([fields.get("model name", platform.machine()), *has])
