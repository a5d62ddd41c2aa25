"""Rows a second of fine-tuning: ours against a stock dygraph loop, taking turns.

    python -m benchmarks.finetune_speed --data_dir DIR

There are two stock sides: as a user starts it, and with this machine's matrix kernels and threads given to it.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import os
from collections.abc import Mapping
from typing import Any

from benchmarks.common import Side, compare, stock_environment
from console import run_script

MODULE = "benchmarks.sides"


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("finetune_speed", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Ours, and the stock loop twice."""
    options = {"data_dir": arguments.data_dir, "seed": arguments.seed}
    stock = f"{MODULE}:stock_finetuning"
    return [
        Side("ours", f"{MODULE}:our_finetuning", {**options, "batches": 40}, dict(os.environ)),
        Side("stock", stock, {**options, "batches": 4}, stock_environment(kernels=False)),
        Side("stock_tuned", stock, {**options, "batches": 10}, stock_environment(kernels=True)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows a second and their ratios."""
    rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
    return {
        "rows_per_second": rows,
        "ratio_to_stock": rows["ours"] / rows["stock"],
        "ratio_to_stock_with_matrix_kernels": rows["ours"] / rows["stock_tuned"],
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
