"""Stores what a masked language model expects at every hidden place of a corpus, its most likely pieces.

    python -m mlm_distill.create_teacher_output_data --input_file outputs/corpus --teacher_dir DIR \\
        --truncation_factor 128 --output_dir outputs/teacher_corpus
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from mlm_distill.options import TeacherOutputOptions


def main(argv: list[str]) -> None:
    """Parses the command line and asks the teacher."""
    options = parse(TeacherOutputOptions, argv, __doc__ or "", "python -m mlm_distill.create_teacher_output_data")
    # After --help, which comes at once.
    from mlm_distill.teacher_outputs import create

    create(options)
    learn = ["python", "-m", "mlm_distill.run_distill", "--input_file", options.output_dir]
    say_next([*learn, "--student_model", "…", "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
