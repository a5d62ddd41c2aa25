"""Rows a second of a teacher pass: the exported graph against dygraph, and against the machine's matrix rate.

python -m benchmarks.teacher_speed --data_dir DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import time

from benchmarks.common import Side, alternate, parser, stock_environment, work_dir, write_result
from console import run_script

MODULE = "benchmarks.sides"


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--turns", type=int, default=6)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    from benchmarks.sides import prepare

    teacher_dir, transfer_dir = prepare(arguments.data_dir, work_dir(arguments.work_dir))
    shared = {"teacher_dir": teacher_dir, "transfer_dir": transfer_dir, "seed": arguments.seed}
    sides = [
        Side("ours", f"{MODULE}:our_teacher", {**shared, "rows": 8192}, dict(os.environ)),
        Side("dygraph", f"{MODULE}:stock_teacher", {**shared, "batches": 2}, stock_environment(kernels=False)),
        Side("dygraph_tuned", f"{MODULE}:stock_teacher", {**shared, "batches": 8}, stock_environment(kernels=True)),
        Side("matrix", f"{MODULE}:matrix_product", {}, dict(os.environ)),
        Side("stock_matrix", f"{MODULE}:matrix_product", {}, stock_environment(kernels=False)),
    ]
    rates = alternate(sides, arguments.turns)
    ours, machine = rates["ours"], rates["matrix"]["flops_per_second"]
    figures = {
        "rows_per_second": {name: rates[name]["rows_per_second"] for name in ("ours", "dygraph", "dygraph_tuned")},
        "ratio_to_dygraph": ours["rows_per_second"] / rates["dygraph"]["rows_per_second"],
        "ratio_to_dygraph_with_matrix_kernels": ours["rows_per_second"] / rates["dygraph_tuned"]["rows_per_second"],
        "gflops": ours["flops_per_second"] / 1e9,
        "matrix_gflops": machine / 1e9,
        "stock_matrix_gflops": rates["stock_matrix"]["flops_per_second"] / 1e9,
        "share_of_matrix_rate": ours["flops_per_second"] / machine,
        "turns": arguments.turns,
    }
    write_result("teacher_speed", arguments, figures, time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
