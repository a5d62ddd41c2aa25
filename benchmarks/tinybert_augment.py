"""TinyBERT's candidates by a masked language model: ours against one masked word at a time, rows a second.

    python -m benchmarks.tinybert_augment --data_dir DIR

Both ask the bundled encoder with a masked-LM head of random weights for the best 15 pieces of the same words of SST-2
rows, each read as the published loop does: the masked sentence, and the original behind it.
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


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("tinybert_augment", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Ours over many rows, the published loop over few: both are rates."""
    options = {"data_dir": arguments.data_dir, "seed": arguments.seed}
    ours, loop = {**options, "rows": 400}, {**options, "rows": 6}
    return [
        Side("ours", f"{MODULE}:our_candidates", ours, dict(os.environ)),
        Side("published", f"{MODULE}:published_candidates", loop, stock_environment(kernels=False)),
        Side("published_tuned", f"{MODULE}:published_candidates", loop, stock_environment(kernels=True)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows a second, and ours in those of the others."""
    rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
    return {
        "rows_per_second": rows,
        "ratio_to_published": rows["ours"] / rows["published"],
        "ratio_to_published_with_matrix_kernels": rows["ours"] / rows["published_tuned"],
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
