"""Exports a model folder: a static graph that serves, or a Hugging Face folder.

python -m deploy.export --model_dir outputs/student --output_dir outputs/exported
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from deploy.options import ExportOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(ExportOptions, argv, __doc__ or "", "python -m deploy.export")
    # After --help, which comes at once.
    from deploy.exporter import export

    export(options)
    if options.format == "paddle":
        out = options.output_dir
        say_next(
            ["python", "-m", "deploy.predict", "--model_dir", out, "--text", "…"],
            ["python", "-m", "deploy.benchmark", "--model_dir", out],
        )


if __name__ == "__main__":
    raise SystemExit(run_script(main))
