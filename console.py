"""What a script says to its user: errors, exit codes, progress.

Standard library only at import time; ``tqdm`` is imported when a bar is first drawn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class InputError(Exception):
    """Something a user gave is wrong: the message says what was expected, what came, and what to do.

    Scripts print it as one line and exit with code 2, without a traceback.
    """


class Interrupted(Exception):
    """The user pressed Ctrl-C and the work was saved; the message says how to go on."""


def say(message: str) -> None:
    """Prints one line for the user at once, also where standard output is a file."""
    print(message, flush=True)


class _WithoutStartupNotes:
    """Standard error without two lines that Paddle prints at import when it may use several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._ending = stream, ""

    def write(self, text: str) -> int:
        if text.startswith(("WARNING: OMP_NUM_THREADS set to", "PLEASE USE OMP_NUM_THREADS")):
            self._ending = "\n"
        elif not (self._ending and text == self._ending):
            self._ending = ""
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def run_script(main: Callable[[list[str]], object], argv: Sequence[str] | None = None) -> int:
    """Runs a script's ``main`` and turns what went wrong into an exit code.

    Args:
        main: takes the command line without the program's name.
        argv: the command line; that of this process when left out.

    Returns:
        0 on success, 2 for an :class:`InputError`, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.stderr = _WithoutStartupNotes(sys.stderr)  # type: ignore[assignment]
    try:
        main(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT
    except Interrupted as stop:
        print(f"\n{stop}", file=sys.stderr, flush=True)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-written was left behind", file=sys.stderr, flush=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our standard output (``head``, a pager) went away: not an error of ours.
        sys.stderr.close()
        return 0
    finally:
        sys.stderr = sys.stderr._stream  # type: ignore[attr-defined]
    return 0


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
                f"{self._what}: {self._done:,}/{self._total:,} {self._unit}s, {rate:,.0f}/s, {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Takes the bar off the screen."""
        self._bar.close()


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
