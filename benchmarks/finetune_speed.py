"""Rows a second of fine-tuning: ours against a stock dygraph loop, taking turns.

    python -m benchmarks.finetune_speed --data_dir DIR

There are two stock sides: as a user starts it, and with this machine's matrix kernels and threads given to it.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import time

from benchmarks.common import Side, alternate, parser, stock_environment, write_result
from console import run_script

MODULE = "benchmarks.sides"


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--turns", type=int, default=6)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    options = {"data_dir": arguments.data_dir, "seed": arguments.seed}
    sides = [
        Side("ours", f"{MODULE}:our_finetuning", {**options, "batches": 40}, dict(os.environ)),
        Side("stock", f"{MODULE}:stock_finetuning", {**options, "batches": 4}, stock_environment(kernels=False)),
        Side("stock_tuned", f"{MODULE}:stock_finetuning", {**options, "batches": 10}, stock_environment(kernels=True)),
    ]
    rates = alternate(sides, arguments.turns)
    ours = rates["ours"]["rows_per_second"]
    figures = {
        "rows_per_second": {name: rate["rows_per_second"] for name, rate in rates.items()},
        "ratio_to_stock": ours / rates["stock"]["rows_per_second"],
        "ratio_to_stock_with_matrix_kernels": ours / rates["stock_tuned"]["rows_per_second"],
        "turns": arguments.turns,
    }
    write_result("finetune_speed", arguments, figures, time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
