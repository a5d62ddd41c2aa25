"""Makes a transfer set: training rows, rows without labels, and augmented copies of both, for any recipe.

python -m distill_lstm.augment_data --task_name sst-2 --data_dir DIR --output_file outputs/transfer.tsv
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from distill_lstm.options import AugmentDataOptions


def main(argv: list[str]) -> None:
    """Parses the command line and makes the transfer set."""
    options = parse(AugmentDataOptions, argv, __doc__ or "", "python -m distill_lstm.augment_data")
    # After --help, which comes at once.
    from core.sweep import words_on_data
    from distill_lstm.transfer import augment

    augment(options)
    learn = [
        "python",
        "-m",
        "distill_lstm.bert_distill",
        *words_on_data(options),
        "--transfer_set",
        options.output_file,
    ]
    say_next([*learn, "--teacher_dir", "…", "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
