"""A page on runs, models and exports: accuracy against latency and size, curves, confusions, disagreements, commands.

python -m deploy.report --run outputs/demo --output_file report.html
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from deploy.options import ReportOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(ReportOptions, argv, __doc__ or "", "python -m deploy.report")
    # After --help, which comes at once.
    from deploy.reporting import report

    report(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
