"""Rows a second of a teacher pass: the exported graph against dygraph, and against the machine's matrix rate.

python -m benchmarks.teacher_speed --data_dir DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import os
from collections.abc import Mapping
from typing import Any

from benchmarks.common import Side, compare, stock_environment, work_dir
from console import run_script

MODULE = "benchmarks.sides"


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("teacher_speed", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Ours, a dygraph pass twice, and the machine's matrix product with our settings and without."""
    from benchmarks.sides import prepare

    teacher_dir, transfer_dir = prepare(arguments.data_dir, work_dir(arguments.work_dir))
    shared = {"teacher_dir": teacher_dir, "transfer_dir": transfer_dir, "seed": arguments.seed}
    return [
        Side("ours", f"{MODULE}:our_teacher", {**shared, "rows": 8192}, dict(os.environ)),
        Side("dygraph", f"{MODULE}:stock_teacher", {**shared, "batches": 2}, stock_environment(kernels=False)),
        Side("dygraph_tuned", f"{MODULE}:stock_teacher", {**shared, "batches": 8}, stock_environment(kernels=True)),
        Side("matrix", f"{MODULE}:matrix_product", {}, dict(os.environ)),
        Side("stock_matrix", f"{MODULE}:matrix_product", {}, stock_environment(kernels=False)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows a second and their ratios, and our share of the matrix rate."""
    rows = {name: rates[name]["rows_per_second"] for name in ("ours", "dygraph", "dygraph_tuned")}
    reached, machine = rates["ours"]["flops_per_second"], rates["matrix"]["flops_per_second"]
    return {
        "rows_per_second": rows,
        "ratio_to_dygraph": rows["ours"] / rows["dygraph"],
        "ratio_to_dygraph_with_matrix_kernels": rows["ours"] / rows["dygraph_tuned"],
        "gflops": reached / 1e9,
        "matrix_gflops": machine / 1e9,
        "stock_matrix_gflops": rates["stock_matrix"]["flops_per_second"] / 1e9,
        "share_of_matrix_rate": reached / machine,
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
