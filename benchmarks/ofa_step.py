"""What a training step over four widths costs, teacher included, in fine-tuning steps on the same batches of 32.

python -m benchmarks.ofa_step --data_dir DIR
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
    stock = {**options, "by_length": True}
    sides = [
        Side("four_widths", f"{MODULE}:ofa_training", {**options, "batches": 12}, dict(os.environ)),
        Side("fine_tuning", f"{MODULE}:our_finetuning", {**options, "batches": 12}, dict(os.environ)),
        Side("stock", f"{MODULE}:stock_finetuning", {**stock, "batches": 4}, stock_environment(kernels=False)),
        Side("stock_tuned", f"{MODULE}:stock_finetuning", {**stock, "batches": 12}, stock_environment(kernels=True)),
    ]
    rates = alternate(sides, arguments.turns)
    rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
    figures = {
        "rows_per_second": rows,
        "in_steps_of": {name: rows[name] / rows["four_widths"] for name in ("fine_tuning", "stock", "stock_tuned")},
        "turns": arguments.turns,
    }
    write_result("ofa_step", arguments, figures, time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
