"""Makes a small masked language model out of a large one: some of its layers, narrower if need be.

python -m mlm_distill.init_student --teacher_dir DIR --layers 0,2,4,7,9,11 --output_dir outputs/assistant
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from mlm_distill.options import InitStudentOptions


def main(argv: list[str]) -> None:
    """Parses the command line and writes the student."""
    options = parse(InitStudentOptions, argv, __doc__ or "", "python -m mlm_distill.init_student")
    # After --help, which comes at once.
    from mlm_distill.student import init_student

    init_student(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
