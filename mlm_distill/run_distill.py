"""Trains a masked language model on a corpus: by stored answers of a teacher, by one that is asked, or by the text.

    python -m mlm_distill.run_distill --input_file outputs/teacher_corpus --student_model outputs/student \\
        --truncation_factor 128 --output_dir outputs/distilled
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from mlm_distill.options import RunDistillOptions


def main(argv: list[str]) -> None:
    """Parses the command line and trains, or only evaluates."""
    options = parse(RunDistillOptions, argv, __doc__ or "", "python -m mlm_distill.run_distill")
    # After --help, which comes at once.
    from core.sweep import look_at
    from mlm_distill.train import distill, evaluate_only

    if options.do_train:
        distill(options)
        tune = ["python", "-m", "finetune.run_classifier", "--model_name_or_path", options.output_dir]
        say_next([*tune, "--task_name", "…", "--output_dir", "…"], *look_at(options.output_dir))
    else:
        evaluate_only(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
