"""Compares the speed of exported models: text in, label out, the models taking turns in one run.

python -m deploy.benchmark --model_dir outputs/teacher_exported outputs/student_exported
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from deploy.options import BenchmarkOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(BenchmarkOptions, argv, __doc__ or "", "python -m deploy.benchmark")
    # After --help, which comes at once; networks, which need Paddle, are compared only.
    if options.table or options.scores:
        from deploy.comparison import compare

        compare(options)
    else:
        from deploy.timing import benchmark

        benchmark(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
