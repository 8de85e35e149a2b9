"""The processor's word on whether int8 kernels of ONNX Runtime can lose bits."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

X86 = ("x86_64", "amd64", "i386", "i686", "x86")
# Sums of four products of 8 bits in 32 bits, as one instruction.
DOT_PRODUCTS = ("avx512_vnni", "avx512vnni", "avx_vnni", "amx_int8")
CPUINFO = Path("/proc/cpuinfo")


@cache
def saturates() -> bool:
    """True where sums of two u8×s8 products are cut to 16 bits: on x86 without VNNI (microsoft/onnxruntime#6004).

    A bit of the weights is left free there. Where the processor cannot be read it is taken for one of these.
    """
    if platform.machine().lower() not in X86:
        return False
    try:
        flags = CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        import cpuinfo

        flags = cpuinfo.get_cpu_info().get("flags", [])
    return not any(flag in DOT_PRODUCTS for flag in flags)
