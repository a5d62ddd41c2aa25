"""Rows a second of fine-tuning in a notebook's kernel against a script: what is lost by setting up a running process.

    python -m benchmarks.notebook_settings --data_dir DIR

A script starts itself again with its settings in the environment (process.tune); a notebook's kernel cannot, and its
first cell sets what it can (process.tune_here). The third side does neither.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import os
from collections.abc import Mapping
from typing import Any

from benchmarks.common import Side, Turn, compare
from console import run_script
from process import MARK, OFF, without_tuning


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("notebook_settings", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """The same steps three times."""
    options = {"data_dir": arguments.data_dir, "seed": arguments.seed, "batches": 10}
    plain = without_tuning(os.environ)
    kernel = {name: value for name, value in plain.items() if name not in (OFF, MARK)}
    return [
        Side("script", "benchmarks.sides:our_finetuning", options, dict(os.environ)),
        Side("notebook", "benchmarks.notebook_settings:in_a_kernel", options, kernel),
        Side("plain", "benchmarks.sides:our_finetuning", {**options, "batches": 4}, plain),
    ]


def in_a_kernel(**options: Any) -> Turn:
    """The steps of a script in a process that runs already."""
    import process

    lost = process.tune_here()
    assert not lost, lost
    from benchmarks.sides import our_finetuning

    return our_finetuning(**options)


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows a second, and the share of a script's that the others have."""
    rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
    return {
        "rows_per_second": rows,
        "notebook_of_script": rows["notebook"] / rows["script"],
        "plain_of_script": rows["plain"] / rows["script"],
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
