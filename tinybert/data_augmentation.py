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
    from core.sweep import words_on_data
    from tinybert.augment import augment

    augment(options)
    learn = ["python", "-m", "tinybert.task_distill", *words_on_data(options), "--transfer_set", options.output_file]
    say_next([*learn, "--teacher_model", "…", "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
