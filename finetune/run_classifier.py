"""Fine-tunes a pre-trained BERT on a task: the teacher of every distillation.

python -m finetune.run_classifier --task_name sst-2 --data_dir DIR --output_dir outputs/teacher
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from finetune.options import FinetuneOptions


def main(argv: list[str]) -> None:
    """Parses the command line and fine-tunes."""
    options = parse(FinetuneOptions, argv, __doc__ or "", "python -m finetune.run_classifier")
    # After --help, which comes at once.
    from core.sweep import train_or_sweep
    from finetune.train import finetune

    train_or_sweep(options, finetune)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
