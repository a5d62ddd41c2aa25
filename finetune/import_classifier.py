"""Takes a classifier that was fine-tuned elsewhere as a teacher, as it is: judges it on dev and writes a model folder.

python -m finetune.import_classifier --model_name_or_path DIR --task_name sst-2 --data_dir DIR --output_dir teacher
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from finetune.options import ImportOptions


def main(argv: list[str]) -> None:
    """Parses the command line and writes the model folder."""
    options = parse(ImportOptions, argv, __doc__ or "", "python -m finetune.import_classifier")
    # After --help, which comes at once.
    from console import say_next
    from core.sweep import words_on_data
    from finetune.imported import import_classifier

    _, metrics = import_classifier(options)
    if "note" in metrics:
        return
    out = options.output_dir.rstrip("/")
    lstm = ["python", "-m", "distill_lstm.bert_distill", *words_on_data(options), "--teacher_dir", out]
    lstm += ["--output_dir", "…", "--optimizer", "adam", "--lr", "1e-3", "--n_iter", "10"]
    export = ["python", "-m", "deploy.export", "--model_dir", out, "--output_dir", f"{out}_exported"]
    say_next(lstm, export)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
