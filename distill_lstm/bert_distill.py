"""Distils a fine-tuned BERT into a Bi-LSTM over augmented rows (Tang et al. 2019).

    python -m distill_lstm.bert_distill --task_name sst-2 --data_dir DIR --teacher_dir outputs/teacher \\
        --output_dir outputs/student
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from distill_lstm.options import DistillOptions


def main(argv: list[str]) -> None:
    """Parses the command line and distils."""
    options = parse(DistillOptions, argv, __doc__ or "", "python -m distill_lstm.bert_distill")
    # After --help, which comes at once.
    from core.sweep import train_or_sweep
    from distill_lstm.train import distill

    train_or_sweep(options, distill)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
