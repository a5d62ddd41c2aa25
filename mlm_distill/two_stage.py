"""Distils a large masked language model into an assistant, and that into a small student, from one configuration file.

python -m mlm_distill.two_stage --config two_stage.json --output_dir outputs/two_stage
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from mlm_distill.options import TwoStageOptions


def main(argv: list[str]) -> None:
    """Parses the command line and takes all steps that are not done yet."""
    options = parse(TwoStageOptions, argv, __doc__ or "", "python -m mlm_distill.two_stage")
    # After --help, which comes at once.
    from mlm_distill.stages import run_stages

    run_stages(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
