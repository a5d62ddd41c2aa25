"""What a training step over four widths costs, teacher included, in fine-tuning steps on the same batches of 32.

python -m benchmarks.ofa_step --data_dir DIR
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
    compare("ofa_step", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Four widths, our fine-tuning, and stock fine-tuning twice, all on the same batches."""
    options = {"data_dir": arguments.data_dir, "seed": arguments.seed, "batches": 12}
    stock = {**options, "by_length": True}
    return [
        Side("four_widths", f"{MODULE}:ofa_training", options, dict(os.environ)),
        Side("fine_tuning", f"{MODULE}:our_finetuning", options, dict(os.environ)),
        Side("stock", f"{MODULE}:stock_finetuning", stock, stock_environment(kernels=False)),
        Side("stock_tuned", f"{MODULE}:stock_finetuning", stock, stock_environment(kernels=True)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows a second, and the step over four widths in steps of the others."""
    rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
    others = [name for name in rows if name != "four_widths"]
    return {"rows_per_second": rows, "in_steps_of": {name: rows[name] / rows["four_widths"] for name in others}}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
