"""Judges a model on rows with labels: the task's metric, every label, the confusion matrix, and another model.

python -m deploy.evaluate --model_dir outputs/distilled --input_file test.tsv --against outputs/teacher
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from deploy.options import EvaluateOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(EvaluateOptions, argv, __doc__ or "", "python -m deploy.evaluate")
    # After --help, which comes at once.
    from deploy.evaluation import evaluate

    evaluate(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
