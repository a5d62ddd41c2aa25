"""Long passes over rows whose result is kept: found again, or made part after part, by one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from console import ProgressBar, say
from data.store import StoreDamaged
from files import alone_in, clear_abandoned, clear_inside

T = TypeVar("T")


def stored_or_made(folder: Path, what: str, read: Callable[[], T], make: Callable[[Path], None]) -> T:
    """What a store holds; where it does not yet, or no longer, it is made first.

    Args:
        folder: of the store.
        what: it holds, such as "teacher outputs": for who waits for another process, and for who has lost it.
        read: gives what it holds, and raises :class:`data.store.StoreDamaged` where that is not what is wanted.
        make: writes it. Its argument is a folder for parts, which a killed process leaves to the next one; nobody else
            works in it.
    """
    parts = folder.with_name(f"{folder.name}.parts")
    try:
        # Without waiting for whoever makes something at the moment.
        found = read()
    except StoreDamaged:
        pass
    else:
        clear_abandoned(parts)
        return found
    with alone_in(parts, f"{what} in {folder.parent}"):
        try:
            # The other process may have ended with it.
            found = read()
        except StoreDamaged as damage:
            if folder.exists():
                say(f"the stored {what} are damaged and are computed again ({damage})")
            make(parts)
            found = read()
        clear_inside(parts)
    return found


def in_parts(
    parts: Path,
    title: str,
    rows: Iterable[np.ndarray],
    total: int,
    read: Callable[[Path, np.ndarray], object],
    make: Callable[[Path, np.ndarray], None],
) -> list[Path]:
    """Work on some rows after others; what an interrupted process has done is not done again.

    Args:
        parts: receives a store per part.
        title: of the progress bar.
        rows: numbers of the rows of each part.
        total: rows of all parts.
        read: raises :class:`data.store.StoreDamaged` where a path does not hold the part of these rows.
        make: writes it there.

    Returns:
        The stores, in order.
    """
    paths = []
    bar = ProgressBar(title, total)
    for number, part in enumerate(rows):
        path = parts / f"part-{number:05d}"
        try:
            read(path, part)
        except StoreDamaged:
            make(path, part)
        paths.append(path)
        bar.advance(len(part))
    bar.close()
    return paths
