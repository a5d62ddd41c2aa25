"""Downloads through PaddleNLP, which end: a connection that stays silent is given up."""

from __future__ import annotations

import os
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from console import InputError

T = TypeVar("T")
# Seconds without a byte or any computing, after which nothing is waited for any longer.
PATIENCE = 60.0
# Computing that counts as a sign of life, in seconds of the processor: waiting and looking at folders takes far less.
ALIVE = 2.0


class Silent(InputError):
    """A download was given up."""


def download_folders() -> list[Path]:
    """Where PaddleNLP puts what it downloads."""
    home = Path(os.environ.get("PPNLP_HOME") or Path.home() / ".paddlenlp")
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return [home, hub]


def keep_downloads_in(cache: Path) -> None:
    """Lets PaddleNLP keep what it downloads below our cache folder instead of in the user's home.

    It reads the place when it is imported, so this comes before; where a user has named one, that stays.
    """
    for name, folder in (("PPNLP_HOME", "paddlenlp"), ("HF_HOME", "huggingface")):
        os.environ.setdefault(name, str(cache / "downloads" / folder))


def why(error: BaseException) -> str:
    """What an error of a download says, for one line: the first cause, words left out at the end, not letters."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return textwrap.shorten(str(error), 200, placeholder=" …") or type(error).__name__


def patiently(work: Callable[[], T], what: str, patience: float | None = None) -> T:
    """The result of ``work``, which downloads; given up when nothing happens for a minute.

    PaddleNLP sets no time-outs, so it works in a thread that is left behind when nothing comes.

    Args:
        work: a function without arguments.
        what: names it in the error.
        patience: seconds without a sign of life; :data:`PATIENCE` when left out.

    Raises:
        Silent: nothing happened for that long.
    """
    patience = PATIENCE if patience is None else patience
    outcome: dict[str, T | BaseException] = {}

    def run() -> None:
        try:
            outcome["result"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    folders = download_folders()
    size, computed, seen = _bytes_in(folders), time.process_time(), time.monotonic()
    while thread.is_alive():
        thread.join(min(1.0, patience / 4))
        now_size, now_computed = _bytes_in(folders), time.process_time()
        if now_size != size or now_computed - computed > ALIVE:
            size, computed, seen = now_size, now_computed, time.monotonic()
        elif time.monotonic() - seen > patience and thread.is_alive():
            raise Silent(
                f"{what}: nothing came for {patience:.0f} s; look at the network and its proxy, or name a local copy"
            )
    if error := outcome.get("error"):
        raise error  # type: ignore[misc]
    return outcome["result"]  # type: ignore[return-value]


def _bytes_in(folders: Sequence[Path]) -> int:
    total = 0
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names:
                try:
                    total += os.stat(os.path.join(root, name)).st_size
                except OSError:  # Renamed while we looked.
                    total += 1
    return total
