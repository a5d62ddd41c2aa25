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
    from distill_lstm.transfer import augment

    augment(options)
    learn = ["python", "-m", "distill_lstm.bert_distill", "--transfer_set", options.output_file, "--teacher_dir", "…"]
    say_next([*learn, "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
