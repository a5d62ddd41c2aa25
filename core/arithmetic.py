"""The number format in which a processor multiplies matrices: fp32, or bf16 where it has that.

In bf16 a static graph is rewritten when it is loaded, its matrix products and what stands between them in bf16, what
goes in and out in fp32; a training step gives oneDNN rounded factors and gets sums in fp32 (:mod:`models.onednn`).
oneDNN also knows a setting of the whole process that lets it round by itself. It has an effect on processors with AMX
alone, and what shall be exact (the parity of an export, say) would lose its digits by it, so it is kept off, even where
the environment asks for it (``ONEDNN_DEFAULT_FPMATH_MODE``).
"""

from __future__ import annotations

import importlib.util
from typing import Any

from process import processor_fields, read_cpuinfo

FP32, BF16 = "fp32", "bf16"
PRECISIONS = (FP32, BF16)
# What a processor that multiplies such numbers says of itself.
FLAGS = ("amx_bf16", "avx512_bf16")


def bf16_fault(device: str = "cpu") -> str | None:
    """Why bf16 cannot be had here, as the end of an error; None where it can.

    Args:
        device: where the graph is to run.
    """
    if device == "gpu":
        return "a GPU computes it in fp32; leave the option out"
    if fault := processor_fault():
        return fault
    if onednn() is None:
        return "this build of Paddle brings no oneDNN; take fp32"
    return None


def processor_fault() -> str | None:
    """The part of :func:`bf16_fault` that the processor alone decides, without Paddle."""
    known = processor_fields(read_cpuinfo())
    if set(FLAGS) & set(known.get("flags", "").split()):
        return None
    return (
        f"this processor ({known.get('model name', 'unknown')}) has neither AMX nor AVX512_BF16, and would be no "
        "faster; take fp32"
    )


def onednn() -> Any | None:
    """The oneDNN that Paddle has loaded; None where its build has none, or where there is no Paddle."""
    if importlib.util.find_spec("paddle") is None:
        return None
    # ONNX files are served without Paddle, whose import takes seconds.
    from models.onednn import library

    return library()


def keep_fp32() -> None:
    """From now on oneDNN rounds nothing by itself, in the whole process."""
    # Being told so is the first that happens to it.
    onednn()
