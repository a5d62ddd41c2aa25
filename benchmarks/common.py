"""What all measurements share: the record of a result, the machine's matrix rate, and two sides taking turns.

Machines are shared and noisy, so a speed is measured as a ratio: both sides run in processes of their own, take turns
many times in one run, and the medians are compared.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from console import InputError, say
from deploy.machine import cores, processor, versions
from files import cache_folder, read_json, write_json
from process import without_tuning

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
Turn = Callable[[], Mapping[str, float]]


def parser(description: str, reads_data: bool = True) -> argparse.ArgumentParser:
    """Options that every measurement has; ``--data_dir`` only one that reads data."""
    made = argparse.ArgumentParser(description=description)
    if reads_data:
        made.add_argument(
            "--data_dir",
            required=True,
            help="folder with the files of the task that is measured (of SST-2 where no other one is named), or text",
        )
    made.add_argument("--work_dir", default=None, help="folder for models and caches (default: the cache folder)")
    made.add_argument("--seed", type=int, default=0)
    return made


def benchmarked(folders: Sequence[str], data_dir: str, rows: int, rounds: int) -> list[dict[str, Any]]:
    """What ``deploy.benchmark`` finds of exports, in a process of its own, as a user starts it.

    What a process has done before it serves is then no part of the figures.
    """
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "speed.json"
        sizes = ["--rows", str(rows), "--rounds", str(rounds), "--output_file", str(told)]
        command = [sys.executable, "-m", "deploy.benchmark", "--model_dir", *folders, "--data_dir", data_dir, *sizes]
        subprocess.run(command, check=True, cwd=ROOT)
        return json.loads(told.read_text(encoding="utf-8"))


def work_dir(given: str | None) -> Path:
    """Where trained models of the measurements stay, so that later ones find them."""
    return Path(given) if given else cache_folder() / "bench"


def write_result(
    name: str, arguments: argparse.Namespace, figures: Mapping[str, Any], seconds: float, script: str | None = None
) -> None:
    """Writes ``benchmarks/results/<name>.json``: the figures with command, seed, versions, machine and date.

    Args:
        name: of the result.
        arguments: of the script.
        figures: what was measured.
        seconds: the measurement took.
        script: that measured it, when it has another name.
    """
    hidden = {key for key, value in vars(arguments).items() if isinstance(value, str) and os.path.isabs(value)}
    given = {k: v for k, v in vars(arguments).items() if v is not None and v is not False and k not in hidden}
    shown = " ".join(_typed(name, value) for name, value in given.items())
    record = {
        "command": f"python -m benchmarks.{script or name} {shown}".strip(),
        "seed": arguments.seed,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "minutes": round(seconds / 60, 1),
        "versions": versions(),
        "machine": {"processor": processor(), "cores": cores()},
        "figures": figures,
    }
    write_json(RESULTS / f"{name}.json", record)
    say(json.dumps(record["figures"], indent=1))


def _typed(name: str, value: Any) -> str:
    """An option as a user types it."""
    if value is True:
        return f"--{name}"
    return f"--{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"


def read_result(name: str) -> dict[str, Any]:
    """A result file.

    Raises:
        InputError: it has not been measured yet.
    """
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise InputError(f"{path.name}: not measured yet; run python -m benchmarks.{name}")
    return read_json(path)


def matrix_rate(size: int = 2048, turns: int = 7) -> float:
    """GFLOP/s of a square float32 matrix product in this process."""
    import paddle

    a, b = paddle.randn([size, size]), paddle.randn([size, size])
    times = []
    for _ in range(turns + 2):
        began = time.perf_counter()
        paddle.matmul(a, b).numpy()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(times[2:]) / 1e9


def stock_environment(kernels: bool) -> dict[str, str]:
    """The environment of a side that is set up plainly.

    Args:
        kernels: give it this machine's matrix kernels and threads all the same, so that what is compared is the way
            of working, not MKL's choice of kernels on processors that are not Intel's.
    """
    plain = without_tuning(os.environ)
    if kernels:
        plain.update({k: os.environ[k] for k in ("MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS") if k in os.environ})
    return plain


@dataclass(frozen=True)
class Side:
    """One side of a comparison, run in a process of its own.

    Attributes:
        name: in the result.
        maker: ``module:function``; called with ``options`` it returns a function that takes one turn and returns
            named amounts, such as rows.
        options: JSON values.
        environment: of the process.
        python: that runs it; this process's when left out.
    """

    name: str
    maker: str
    options: Mapping[str, Any]
    environment: Mapping[str, str]
    python: str = sys.executable


def alternate(sides: Sequence[Side], turns: int) -> dict[str, dict[str, Any]]:
    """Lets the sides take turns; returns for each the amounts a second of every turn, and their medians."""
    workers = {side.name: _Worker(side) for side in sides}
    rates: dict[str, dict[str, list[float]]] = {side.name: {} for side in sides}
    try:
        for turn in range(turns + 1):
            for name, worker in workers.items():
                seconds, amounts = worker.turn()
                # The first turn warms up: kernels are chosen and caches filled.
                if turn:
                    for amount, value in amounts.items():
                        rates[name].setdefault(amount, []).append(value / seconds)
            say(
                f"turn {turn}/{turns}: "
                + ", ".join(f"{n} {r.get('rows', [0])[-1]:,.1f} rows/s" for n, r in rates.items() if r)
            )
    finally:
        for worker in workers.values():
            worker.stop()
    return {
        name: {f"{amount}_per_second": statistics.median(values) for amount, values in amounts.items()}
        | {"turns": turns}
        for name, amounts in rates.items()
    }


def compare(
    name: str,
    description: str,
    argv: Sequence[str],
    sides: Callable[[argparse.Namespace], Sequence[Side]],
    figures: Callable[[Mapping[str, Mapping[str, Any]]], Mapping[str, Any]],
) -> None:
    """A whole measurement of sides that take turns: options, turns, result.

    Args:
        name: of the result.
        description: of the script.
        argv: its command line.
        sides: from its options.
        figures: from the sides' medians, see :func:`alternate`.
    """
    made = parser(description)
    made.add_argument("--turns", type=int, default=6, help="turns of every side")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    rates = alternate(sides(arguments), arguments.turns)
    found = {**figures(rates), "turns": arguments.turns}
    write_result(name, arguments, found, time.perf_counter() - began)


class _Worker:
    def __init__(self, side: Side) -> None:
        command = [side.python, "-m", "benchmarks.common", side.maker, json.dumps(dict(side.options))]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=dict(side.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self) -> tuple[float, dict[str, float]]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("RESULT "):
                seconds, amounts = json.loads(line.removeprefix("RESULT "))
                return seconds, amounts
        raise RuntimeError("a side of the measurement ended early; its own output above says why")

    def stop(self) -> None:
        # Closes its standard input, which ends its loop, and waits.
        self._process.communicate(timeout=60)


def _serve(maker: str, options: str) -> None:
    module, _, name = maker.partition(":")
    turn: Turn = getattr(importlib.import_module(module), name)(**json.loads(options))
    for _ in sys.stdin:
        began = time.perf_counter()
        amounts = turn()
        print("RESULT " + json.dumps([time.perf_counter() - began, dict(amounts)]), flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
