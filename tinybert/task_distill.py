"""Distils a fine-tuned BERT into a TinyBERT on a task: first its layers, then its answers (Jiao et al. 2019).

    python -m tinybert.task_distill --task_name sst-2 --data_dir DIR --teacher_model outputs/teacher \\
        --student_model tinybert-4l-312d --output_dir outputs/tinybert
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from tinybert.options import TaskDistillOptions


def main(argv: list[str]) -> None:
    """Parses the command line and distils."""
    options = parse(TaskDistillOptions, argv, __doc__ or "", "python -m tinybert.task_distill")
    # After --help, which comes at once.
    from core.sweep import train_or_sweep
    from tinybert.train import distill

    train_or_sweep(options, distill)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
