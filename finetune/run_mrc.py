"""Fine-tunes a BERT on reading comprehension, from labels or also by a teacher: it finds answers in passages.

python -m finetune.run_mrc --task_name cmrc2018 --data_dir DIR --output_dir outputs/mrc
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from finetune.options import MrcOptions


def main(argv: list[str]) -> None:
    """Parses the command line and fine-tunes."""
    options = parse(MrcOptions, argv, __doc__ or "", "python -m finetune.run_mrc")
    # After --help, which comes at once.
    from core.sweep import train_or_sweep
    from finetune.mrc import finetune

    train_or_sweep(options, finetune)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
