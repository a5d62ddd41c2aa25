"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from importlib.util import find_spec

from process import processor_fields, read_cpuinfo

# Paddle is one package for CPUs and others for GPUs: it is asked itself.
PACKAGES = ("paddlenlp", "numpy", "tokenizers")


def versions() -> dict[str, str]:
    """Python and the packages that change figures."""
    import paddle

    known = {package: version(package) for package in PACKAGES if find_spec(package) is not None}
    return {"python": platform.python_version(), "paddlepaddle": paddle.__version__, **known}


def processor() -> str:
    """Its name, and whether it has AVX-512; that of the platform where the system does not tell."""
    known = processor_fields(read_cpuinfo())
    if "model name" not in known:
        return platform.processor() or platform.machine()
    return f"{known['model name']} ({'AVX-512' if 'avx512f' in known.get('flags', '') else 'no AVX-512'})"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))
