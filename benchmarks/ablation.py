"""What each of the three augmentations brings: students on a part of SST-2, three seeds, all of as many steps.

    python -m benchmarks.ablation --data_dir DIR

The teacher is that of benchmarks.sst2. Words are augmented throughout, since parts of speech belong to words.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import time

from benchmarks.common import parser, work_dir, write_result
from benchmarks.recipe import Plan, measure
from console import InputError, run_script
from demo import STUDENT

ROWS, COPIES, STEPS = 4000, 4, 400
# More passes than any set needs for its steps.
EPOCHS = 40
OFF = {"p_mask": 0.0, "p_pos": 0.0, "p_ngram": 0.0}
ON = {"p_mask": 0.1, "p_pos": 0.1, "p_ngram": 0.25}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--jobs", type=int, default=2, help="students trained at the same time")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    root = work_dir(arguments.work_dir)
    teacher = root / "sst-2" / "teacher"
    if not (teacher / "metrics.json").is_file():
        raise InputError(f"{teacher}: no teacher here yet; run python -m benchmarks.sst2 first")
    figures = measure(plan(), arguments.data_dir, root / "ablation", arguments.jobs, teacher)
    write_result("ablation", arguments, figures, time.perf_counter() - began)


def plan() -> Plan:
    """Nothing, each augmentation alone, and all of them."""
    chosen = {
        "no copies": {"n_iter": 0},
        "masking": {"n_iter": COPIES, **OFF, "p_mask": ON["p_mask"]},
        "parts of speech": {"n_iter": COPIES, **OFF, "p_pos": ON["p_pos"]},
        "n-grams": {"n_iter": COPIES, **OFF, "p_ngram": ON["p_ngram"]},
        "all three": {"n_iter": COPIES, **ON},
    }
    return Plan(
        "sst-2",
        teacher={},
        student={**STUDENT, "holdout": 0.02, "max_train_rows": ROWS},
        alone={"max_epoch": EPOCHS, "max_steps": STEPS, "eval_steps": 100},
        distilled={"max_epoch": EPOCHS, "max_steps": STEPS, "eval_steps": 100},
        transfer_sets={
            name.replace(" ", "-"): {"whole_word_mask": True, **options} for name, options in chosen.items()
        },
    )


if __name__ == "__main__":
    raise SystemExit(run_script(main))
