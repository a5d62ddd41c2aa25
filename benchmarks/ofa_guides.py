"""How the depths of a once-for-all network should learn: from whom, and how many sub-networks from a batch.

    python -m benchmarks.ofa_guides --data_dir DIR

The teacher is that of ``benchmarks.sst2``. For every seed there is one width stage over a part of SST-2's training
rows, and from it depth stages that take about as long as each other. A task's metric on 872 rows cannot tell them
apart; how far answers are from the teacher's can: all sub-networks are compared with it on dev.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import recipe
from benchmarks.common import parser, work_dir, write_result
from benchmarks.ofa import OFA, among, on_dev
from benchmarks.sst2 import plan
from console import run_script
from core.checkpoint import read_metrics

SETTINGS = {"holdout": 0.02, "max_train_rows": 6000, "num_train_epochs": 1, "batch_size": 64, "choose_by": "teacher"}
WAYS: dict[str, dict[str, Any]] = {
    "taught at the same width": {"depth_guide": "same"},
    "taught at full width": {"depth_guide": "full"},
    "four sub-networks a batch": {"depth_guide": "full", "sub_networks_per_step": 4, "max_train_rows": 18000},
}
TWO_THIRDS = (2 / 3, 1.0)


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    recipe.add_precision(made)
    made.add_argument("--seeds", nargs="+", type=int, default=list(recipe.SEEDS))
    arguments = made.parse_args(argv)
    recipe.check_precision(arguments.precision)
    began = time.perf_counter()
    figures = measure(arguments.data_dir, work_dir(arguments.work_dir), arguments.seeds, arguments.precision)
    write_result("ofa_guides", arguments, figures, time.perf_counter() - began)


def measure(data_dir: str, place: Path, seeds: Sequence[int], precision: str) -> dict[str, Any]:
    """All runs, and of every way the distance of its sub-networks from the teacher."""
    folder = place / f"sst-2{recipe.suffix(precision)}"
    planned = plan("", precision=precision)
    teacher = recipe.trained_teacher(planned, data_dir, folder)
    widths = {"width_mult_list": OFA["width_mult_list"]}
    shared = {name: value for name, value in OFA.items() if not name.endswith("_mult_list")}
    shared |= {**recipe.shared_options(planned, data_dir, folder), **SETTINGS}
    found: dict[str, list[dict[str, float]]] = {"width stage": [], **{name: [] for name in WAYS}}
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for seed in seeds:
        start = folder / f"guides-{seed}-width"
        first = {**shared, **widths, "model_name_or_path": str(teacher), "stage": "width", "seed": seed}
        runs = {"width stage": (start, first)}
        for number, (name, options) in enumerate(WAYS.items()):
            values = {**shared, **options, "depth_mult_list": OFA["depth_mult_list"], "seed": seed}
            values |= {"model_name_or_path": str(start), "stage": "depth"}
            runs[name] = (folder / f"guides-{seed}-depth-{number}", values)
        for name, (output, options) in runs.items():
            recipe.run("ofa_bert.run_glue_ofa", {**options, "output_dir": str(output)}, jobs=1)
            found[name].append(nearness(output, teacher, data_dir, name == "width stage"))
            seconds[name].append(read_metrics(output / options["stage"])["training"]["seconds"])
    return {
        "settings": {**OFA, **SETTINGS, "ways": WAYS},
        "teacher": read_metrics(teacher)["dev"],
        "seeds": list(seeds),
        "ways": {
            name: {
                **{key: statistics.mean(each[key] for each in parts) for key in parts[0]},
                **({"deviation": _deviations(parts)} if len(parts) > 1 else {}),
                "training_seconds": statistics.mean(seconds[name]),
            }
            for name, parts in found.items()
        },
    }


def _deviations(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: statistics.stdev(each[key] for each in parts) for key in parts[0]}


def nearness(network: Path, teacher: Path, data_dir: str, at_full_depth: bool) -> dict[str, float]:
    """Accuracy on dev and :func:`core.metrics.agreement` with the teacher there, of a network's parts.

    Returns:
        Means over all sub-networks, and the same of two thirds of the width at full depth.
    """
    from models.folder import load
    from ofa_bert.shapes import make_shapes

    answers, rows, _ = recipe.dev_logits(teacher, data_dir)
    loaded = load(network)
    depths = (1.0,) if at_full_depth else OFA["depth_mult_list"]
    shapes = make_shapes(vars(loaded.model.config), OFA["width_mult_list"], depths)
    parts = [{**metrics, **near} for metrics, near in on_dev(loaded, shapes, rows, answers)]
    means = {name: statistics.mean(part[name] for part in parts) for name in parts[0]}
    (narrow,) = (part for shape, part in zip(shapes, parts, strict=True) if among(shape, [TWO_THIRDS]))
    return {**means, **{f"two_thirds_{name}": value for name, value in narrow.items()}}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
