"""How the process is set up before the numerical libraries start: memory allocator, matrix kernels, threads.

All of it must be in the environment before Paddle is loaded, so a script that finds it missing starts itself
again, once, with it set (:func:`tune`). Standard library only.

* glibc gives every large buffer back to the kernel and pays page faults for it again a moment later. Three
  allocator settings keep the pages; element-wise operations become two to four times as fast.
* Paddle's Intel MKL knows no processor but Intel's and runs its slowest kernels on others. Where the processor
  says that it has AVX-512 or AVX2, ``MKL_DEBUG_CPU_TYPE`` names the kernels that fit: 15 -> 480 GFLOP/s was
  measured on an AMD EPYC with two cores.
* Paddle uses a single OpenMP thread unless told otherwise.
* Paddle 3 makes a transposed tensor a view, which every matrix product then copies element by element; without such
  views attention trains three times as fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from types import FrameType

import console

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
# The same for a process that runs already: no buffer by mmap, nothing trimmed, room at the top (numbers of malloc.h).
MALLOPT = ((-4, 0), (-1, 2**31 - 1), (-2, 268435456))
MARK = "PADDLEDISTILL_TUNED"
OFF = "PADDLEDISTILL_NO_TUNING"


def processor_fields(cpuinfo: str) -> dict[str, str]:
    """What ``/proc/cpuinfo`` tells of the first processor."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def matrix_kernels(cpuinfo: str) -> str | None:
    """The value of ``MKL_DEBUG_CPU_TYPE`` that suits a processor, or None where MKL chooses well by itself.

    Args:
        cpuinfo: the text of ``/proc/cpuinfo``.
    """
    fields = processor_fields(cpuinfo)
    if fields.get("vendor_id", "GenuineIntel") == "GenuineIntel":
        return None
    flags = set(fields.get("flags", "").split())
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"} <= flags:
        return "7"
    if {"avx2", "fma"} <= flags:
        return "5"
    return None


def settings(environment: Mapping[str, str], cpuinfo: str, cores: int) -> dict[str, str]:
    """The variables that are to be added to ``environment``; what the user has set stays as it is."""
    wanted = dict(ALLOCATOR)
    kernels = matrix_kernels(cpuinfo)
    if kernels:
        wanted["MKL_DEBUG_CPU_TYPE"] = kernels
    # Under paddle.distributed.launch the processes share the cores.
    count = environment.get("PADDLE_TRAINERS_NUM", "1")
    ranks = max(1, int(count)) if count.isascii() and count.isdigit() else 1
    wanted["OMP_NUM_THREADS"] = str(max(1, cores // ranks))
    wanted["FLAGS_use_stride_kernel"] = "0"
    # Workers in our own threads and processes tokenise; the library's fork warning would only confuse.
    wanted["TOKENIZERS_PARALLELISM"] = "true"
    # Start-up notes of Paddle that are not for users.
    wanted["GLOG_minloglevel"] = "2"
    wanted["PYTHONWARNINGS"] = "ignore:No ccache found,ignore:pkg_resources is deprecated"
    return {name: value for name, value in wanted.items() if name not in environment}


def tune() -> None:
    """Starts this script again with the settings above, unless they are there already.

    Call it first thing under ``if __name__ == "__main__"``. ``PADDLEDISTILL_NO_TUNING=1`` switches it off.
    """
    # Until console.run_script listens, an interruption is the imports'.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end_quietly)
    if os.environ.get(MARK) or os.environ.get(OFF) or not sys.platform.startswith("linux"):
        return
    added = settings(os.environ, read_cpuinfo(), len(os.sched_getaffinity(0)))
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **added, MARK: "1"})


def read_cpuinfo() -> str:
    """What the system tells of its processor; nothing where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def tune_here() -> list[str]:
    """Sets this process up as far as it can still be, for a notebook: its kernel cannot be started again from within.

    Call it before Paddle is imported. The allocator is told by ``mallopt``; all else is read when Paddle is loaded,
    which happens here.

    Returns:
        What could not be set, a sentence each; nothing on a Linux with glibc when Paddle is not loaded yet.
    """
    lost = []
    if os.environ.get(MARK) or os.environ.get(OFF) or not sys.platform.startswith("linux"):
        return lost
    if "paddle" in sys.modules:
        lost.append("Paddle was imported before: its kernels and threads stay as they are; restart the kernel")
    added = settings(os.environ, read_cpuinfo(), len(os.sched_getaffinity(0)))
    os.environ.update(added)
    for message in filter(None, added.get("PYTHONWARNINGS", "").split(",")):
        warnings.filterwarnings("ignore", message.removeprefix("ignore:"))
    try:
        # All of them, also when one is refused.
        answers = [ctypes.CDLL(None).mallopt(name, value) for name, value in MALLOPT]
        kept = all(answers)
    except (OSError, AttributeError):
        # Another C library than glibc.
        kept = False
    if not kept:
        lost.append("the allocator could not be told to keep its pages: element-wise operations are slower")
    if "paddle" not in sys.modules and importlib.util.find_spec("paddle"):
        # What it notes on threads when it is imported is not for users.
        with contextlib.redirect_stderr(console.WithoutStartupNotes(sys.stderr)):
            importlib.import_module("paddle")
    # Scripts that a notebook starts find the allocator's settings in the environment, and need no second start.
    os.environ[MARK] = "1"
    return lost


def _end_quietly(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\ninterrupted\n")
    os._exit(128 + number)


def without_tuning(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of ``environment`` for a child that is to run with a plain set-up (benchmarks' stock side)."""
    names = {*ALLOCATOR, "MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS", "FLAGS_use_stride_kernel", MARK}
    return {**{k: v for k, v in environment.items() if k not in names}, OFF: "1"}
