"""Predicts labels: for texts on the command line, a file, or standard input, one JSON object per row.

python -m deploy.predict --model_dir outputs/exported --text "a gripping, funny film"
python -m deploy.predict --model_dir outputs/exported --input_file rows.tsv --output_file labels.jsonl
head -100 texts.txt | python -m deploy.predict --model_dir outputs/exported
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from deploy.options import PredictOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(PredictOptions, argv, __doc__ or "", "python -m deploy.predict")
    # After --help, which comes at once.
    from deploy.labelling import predict

    predict(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
