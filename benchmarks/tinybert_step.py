"""General distillation of 4 x 312 from the bundled encoder: our step against a stock dygraph step, tokens a second.

    python -m benchmarks.tinybert_step --data_dir DIR_WITH_TEXT

Beside them our step with the teacher's features from the disk, over rows few enough for these to be read from memory;
from it follows after how many passes it pays to have stored them.
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

MODULE = "benchmarks.tinybert_sides"
STORED_ROWS = 1500


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("tinybert_step", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Ours twice, and stock twice, over the same text."""
    options = {"text_dir": arguments.data_dir, "seed": arguments.seed, "batches": 6}
    stored = {**options, "cache_budget": "20GB", "rows": STORED_ROWS}
    return [
        Side("ours", f"{MODULE}:our_general_step", options, dict(os.environ)),
        Side("ours_stored", f"{MODULE}:our_general_step", stored, dict(os.environ)),
        Side("stock", f"{MODULE}:stock_general_step", options, stock_environment(kernels=False)),
        Side("stock_tuned", f"{MODULE}:stock_general_step", options, stock_environment(kernels=True)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Tokens a second, and ours in those of the others."""
    tokens = {name: rate["tokens_per_second"] for name, rate in rates.items()}
    return {
        "tokens_per_second": tokens,
        "ratio_to_stock": tokens["ours"] / tokens["stock"],
        "ratio_to_stock_with_matrix_kernels": tokens["ours"] / tokens["stock_tuned"],
        "stored_to_asked": tokens["ours_stored"] / tokens["ours"],
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
