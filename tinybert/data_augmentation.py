"""Writes TinyBERT's transfer set: every row with copies in which words are replaced by others that fit.

python -m tinybert.data_augmentation --task_name sst-2 --data_dir DIR --output_file outputs/augmented.tsv
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from tinybert.options import TinyAugmentOptions


def main(argv: list[str]) -> None:
    """Parses the command line and augments."""
    options = parse(TinyAugmentOptions, argv, __doc__ or "", "python -m tinybert.data_augmentation")
    # After --help, which comes at once.
    from tinybert.augment import augment

    augment(options)
    learn = ["python", "-m", "tinybert.task_distill", "--transfer_set", options.output_file, "--teacher_model", "…"]
    say_next([*learn, "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
