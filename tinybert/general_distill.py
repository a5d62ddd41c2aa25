"""Distils a pre-trained encoder into a small one on raw text, as the start of task distillation (Jiao et al. 2019).

python -m tinybert.general_distill --text DIR --student_model tinybert-4l-312d --output_dir outputs/general
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from tinybert.options import GeneralDistillOptions


def main(argv: list[str]) -> None:
    """Parses the command line and distils."""
    options = parse(GeneralDistillOptions, argv, __doc__ or "", "python -m tinybert.general_distill")
    # After --help, which comes at once.
    from core.sweep import look_at
    from tinybert.general import distill_on_text

    distill_on_text(options)
    learn = ["python", "-m", "tinybert.task_distill", "--student_model", options.output_dir, "--teacher_model", "…"]
    say_next([*learn, "--task_name", "…", "--output_dir", "…"], *look_at(options.output_dir))


if __name__ == "__main__":
    raise SystemExit(run_script(main))
