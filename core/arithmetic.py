"""The number format in which oneDNN multiplies matrices while a static graph runs: fp32, or bf16 where a CPU has it.

oneDNN takes it from a setting of the whole process, at the moment when it prepares an operation. Here it is bf16 only
while a graph that wants it runs, and graphs in fp32 wait for its end: what shall be exact (the parity of an export,
say) is, even where the environment asks for bf16 in everything (``ONEDNN_DEFAULT_FPMATH_MODE``).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from process import processor_fields, read_cpuinfo

FP32, BF16 = "fp32", "bf16"
# dnnl_fpmath_mode_t of oneDNN.
MODES = {FP32: 0, BF16: 1}
# What a processor that multiplies such numbers says of itself.
FLAGS = ("amx_bf16", "avx512_bf16")


def bf16_fault(device: str = "cpu") -> str | None:
    """Why bf16 cannot be had here, as the end of an error; None where it can.

    Args:
        device: where the graph is to run.
    """
    if device == "gpu":
        return "a GPU computes it in fp32; leave the option out"
    known = processor_fields(read_cpuinfo())
    if not set(FLAGS) & set(known.get("flags", "").split()):
        return (
            f"this processor ({known.get('model name', 'unknown')}) has neither AMX nor AVX512_BF16, and would be no "
            "faster; take fp32"
        )
    if onednn() is None:
        return "this build of Paddle brings no oneDNN; take fp32"
    return None


@cache
def onednn() -> Any | None:
    """The oneDNN library that Paddle has loaded; None where its build has none, or where there is no Paddle."""
    if importlib.util.find_spec("paddle") is None:
        return None
    import paddle

    for path in sorted((Path(paddle.__file__).parent / "libs").glob("libdnnl.so*")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "dnnl_set_default_fpmath_mode"):
            return library
    return None


class Turns:
    """Runs of one precision at the same time, in threads of their own, while those of the other wait.

    They begin in the order in which they ask, so that no precision keeps the other waiting for ever.

    Args:
        choose: tells oneDNN a number of :data:`MODES`.
    """

    def __init__(self, choose: Callable[[int], object]) -> None:
        self._choose, self._running = choose, dict.fromkeys(MODES, 0)
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, precision: str) -> Iterator[None]:
        """While this lasts, operations are prepared for one precision; when the last has ended, for fp32 again."""
        place = object()

        def is_next() -> bool:
            others = any(n for name, n in self._running.items() if name != precision)
            return self._waiting[0] is place and not others

        with self._changed:
            self._waiting.append(place)
            try:
                self._changed.wait_for(is_next)
                self._choose(MODES[precision])
                self._running[precision] += 1
            finally:
                # Also after Ctrl-C, or those behind it would wait for ever.
                self._waiting.remove(place)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._running[precision] -= 1
                if not self._running[precision]:
                    self._choose(MODES[FP32])
                    self._changed.notify_all()


def _tell(mode: int) -> None:
    library = onednn()
    if library is not None:
        library.dnnl_set_default_fpmath_mode(mode)


# Of this process.
TURNS = Turns(_tell)
