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

    def students(data: list[str]) -> list[list[str]]:
        """Commands that distil the teacher."""
        out = options.output_dir
        lstm = ["python", "-m", "distill_lstm.bert_distill", *data, "--teacher_dir", out, "--output_dir", "…"]
        lstm += ["--optimizer", "adam", "--lr", "1e-3", "--n_iter", "10"]
        small_bert = ["python", "-m", "tinybert.task_distill", *data, "--teacher_model", out, "--output_dir", "…"]
        return [lstm, small_bert]

    train_or_sweep(options, finetune, students)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
