"""Trains a Bi-LSTM on labels alone: what distillation is compared with.

python -m distill_lstm.small --task_name sst-2 --data_dir DIR --output_dir outputs/small
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from distill_lstm.options import SmallOptions


def main(argv: list[str]) -> None:
    """Parses the command line and trains."""
    options = parse(SmallOptions, argv, __doc__ or "", "python -m distill_lstm.small")
    # After --help, which comes at once.
    from core.sweep import train_or_sweep
    from distill_lstm.train import train_small

    train_or_sweep(options, train_small)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
