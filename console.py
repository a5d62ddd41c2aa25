"""What a script says to its user: errors, exit codes, progress.

Standard library only at import time; ``tqdm`` is imported when a bar is first drawn.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

PADDLE = "paddle"

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class InputError(Exception):
    """Something a user gave is wrong: the message says what was expected, what came, and what to do.

    Scripts print it as one line and exit with code 2, without a traceback.
    """


class Interrupted(Exception):
    """The user pressed Ctrl-C and the work was saved; the message says how to go on."""


def say(message: str) -> None:
    """Prints one line for the user at once, also where standard output is a file.

    When whoever read standard output has gone (``| head``), the work goes on in silence.
    """
    try:
        print(message, flush=True)
    except BrokenPipeError:
        silence(1)


def is_first_process() -> bool:
    """Whether this process is the main one, before it has joined the others."""
    return os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


def say_next(*commands: Sequence[object]) -> None:
    """Ends a script with what may be typed next, one command a line; of several processes the first one says it.

    Args:
        commands: the words of each, as a shell would get them; ``…`` stands for what only the user knows.
    """
    if not is_first_process():
        return
    lines = [shlex.join(map(str, command)).replace("'…'", "…") for command in commands]
    say("\n".join(["", "next:", *(f"  {line}" for line in lines)]))


def silence(handle: int) -> None:
    """Lets standard output (1) or standard error (2) go nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, handle)
    os.close(nowhere)


class WithoutStartupNotes:
    """Standard error without two lines that Paddle prints at import when it may use several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._ending = stream, ""

    def write(self, text: str) -> int:
        if text.startswith(("WARNING: OMP_NUM_THREADS set to", "PLEASE USE OMP_NUM_THREADS")):
            self._ending = "\n"
        elif not (self._ending and text == self._ending):
            self._ending = ""
            # Whether anybody reads it decides nothing.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Signals(MetaPathFinder):
    """Ctrl-C and SIGTERM while a script runs: both end it by an exception, so that what is half-written goes away.

    Paddle puts a handler of its own for SIGTERM in our place when it is imported, which ends the process where it
    stands; hence this is also a finder of modules, which listens again after that.
    """

    # Seconds for which a second signal is not heard.
    PATIENCE = 3

    def __init__(self) -> None:
        self.received: int | None = None
        self._raised, self._looking = -math.inf, False
        self._before: dict[int, Any] = {}

    def _receive(self, number: int, _frame: object) -> None:
        # Once is enough, while what is half-written is being removed; but callbacks of libraries swallow exceptions.
        if time.monotonic() - self._raised > self.PATIENCE:
            self.received, self._raised = number, time.monotonic()
            raise KeyboardInterrupt

    def listen(self) -> None:
        with contextlib.suppress(ValueError):  # Only the main thread may: elsewhere the caller's handlers stay.
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
            sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """Paddle as it is found anyway, but for what follows its import."""
        if fullname != PADDLE or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def then_listen(module: ModuleType) -> None:
                execute(module)
                with contextlib.suppress(ValueError):
                    for number in self._before:
                        if signal.getsignal(number) == self._receive:
                            signal.signal(number, self._receive)

            spec.loader.exec_module = then_listen  # type: ignore[method-assign]
        return spec

    def ignore(self) -> None:
        """From here on nothing can interrupt: the script is about to end."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)


def run_script(main: Callable[[list[str]], object], argv: Sequence[str] | None = None) -> int:
    """Runs a script's ``main`` and turns what went wrong into an exit code.

    Args:
        main: takes the command line without the program's name.
        argv: the command line; that of this process when left out.

    Returns:
        0 on success; 2 for an :class:`InputError`, a disk that is full, a file that may not be written, or memory that
        does not suffice; 130 after Ctrl-C; 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lasts
    errors = sys.stderr
    sys.stderr = WithoutStartupNotes(errors)  # type: ignore[assignment]
    signals = _Signals()
    signals.listen()
    code = 0
    try:
        main(arguments)
    except BaseException as error:
        signals.ignore()
        code, message = _outcome(error, signals.received)
        with contextlib.suppress(BrokenPipeError):
            print(message, file=sys.stderr, flush=True)
    finally:
        sys.stderr = errors
        # A process that ends here stays deaf: an interruption now would only print a traceback.
        if argv is None:
            signals.ignore()
        else:
            signals.restore()
    return code


def _outcome(error: BaseException, received: int | None) -> tuple[int, str]:
    """The exit code that an exception gives, and what is said; an error of ours is raised again."""
    if isinstance(error, Interrupted):
        return EXIT_INTERRUPTED, f"\n{error}"
    # Libraries turn the exception of an interruption into others, when it comes while they are imported.
    if isinstance(error, KeyboardInterrupt) or (received is not None and not isinstance(error, InputError)):
        if received == signal.SIGTERM:
            return EXIT_TERMINATED, "\nterminated; nothing half-written was left behind"
        return EXIT_INTERRUPTED, "\ninterrupted; nothing half-written was left behind"
    if isinstance(error, InputError):
        return EXIT_BAD_INPUT, f"error: {error}"
    if isinstance(error, MemoryError):
        return EXIT_BAD_INPUT, f"error: not enough memory ({' '.join(str(error).split()) or 'an allocation failed'})"
    if isinstance(error, OSError) and error.errno is not None:
        return EXIT_BAD_INPUT, f"error: {describe_os_error(error)}"
    if isinstance(error, ModuleNotFoundError) and error.name == PADDLE:
        return EXIT_BAD_INPUT, (
            "error: PaddlePaddle is not installed here; install it with: python -m pip install -r requirements.txt "
            "-c constraints.txt (ONNX files of an export are predicted with by --runtime onnx, without it)"
        )
    raise error


def describe_os_error(error: OSError) -> str:
    """One line on what the operating system refused, and what to do."""
    advice = {
        errno.ENOSPC: "make room, then give the same command with --resume if it has that option",
        errno.EDQUOT: "make room, then give the same command with --resume if it has that option",
        errno.EROFS: "choose a folder that may be written to",
        errno.EACCES: "choose a folder that may be written to",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    name = error.filename if isinstance(error.filename, str) else ""
    where = f"{name if len(name) < 200 else name[:100] + '…'}: " if name else ""
    what = (error.strerror or str(error)).lower()
    more = advice.get(error.errno or 0)
    return f"{where}{what}" + (f"; {more}" if more else "")


def _prepare_streams() -> None:
    """Characters that a terminal cannot show are written as codes; closed streams are not given to files."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # Else the next file that is opened gets the number of a closed stream, and what libraries print goes into it.
    with contextlib.suppress(OSError):
        while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(handle)


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "row") -> Iterator[T]:
    """Yields ``items`` under a progress bar with an estimate of the time left.

    Nothing is drawn for work that ends within two seconds. Where standard error is no terminal, a line
    every ten seconds stands in for the bar, so that logs stay readable.
    """
    bar = ProgressBar(what, total if total is not None else len(items), unit)  # type: ignore[arg-type]
    try:
        for item in items:
            yield item
            bar.advance(1)
    finally:
        bar.close()


class ProgressBar:
    """A bar that is advanced by hand; see :func:`progress`."""

    def __init__(self, what: str, total: int, unit: str = "row", initial: int = 0) -> None:
        from tqdm import tqdm

        self._what, self._total, self._unit = what, total, unit
        self._done, self._start_done = initial, initial
        self._started = self._last = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=initial,
            desc=what,
            unit=f" {unit}",
            delay=2,
            unit_scale=True,
            leave=False,
            disable=not self._terminal,
            dynamic_ncols=True,
        )

    def advance(self, count: int) -> None:
        """Moves the bar ``count`` units on."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if not self._terminal and now - self._last > 10:
            self._last = now
            rate = (self._done - self._start_done) / (now - self._started)
            left = (self._total - self._done) / rate if rate else float("inf")
            print(
                f"{self._what}: {self._done:,}/{self._total:,} {_plural(self._unit)}, {_rate(rate)}/s, "
                f"{duration(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Takes the bar off the screen."""
        self._bar.close()


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith(("ch", "s", "x")) else f"{unit}s"


def _rate(rate: float) -> str:
    """Slow work in decimals: 0.4 a second is not none."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration(seconds: float) -> str:
    """A length of time for people: ``48 s``, ``3:07 min``, ``1:02:09 h``."""
    if seconds == float("inf") or seconds != seconds:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d} h"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lays out a small table for a terminal, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max(len(header[i]), *(len(row[i]) for row in cells)) if cells else len(header[i]) for i in range(len(header))
    ]

    def line(row: Sequence[str], left: bool = False) -> str:
        return "  ".join(
            cell.ljust(width) if i == 0 or left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *(line(row) for row in cells)])
