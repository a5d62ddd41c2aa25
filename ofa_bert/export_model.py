"""Cuts a sub-model out of a once-for-all network: a model folder, and on demand its static graph.

python -m ofa_bert.export_model --model_name_or_path outputs/ofa --width_mult 0.6667 --sub_model_output_dir outputs/sub
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from ofa_bert.options import SubModelOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(SubModelOptions, argv, __doc__ or "", "python -m ofa_bert.export_model")
    # After --help, which comes at once.
    from ofa_bert.sub_model import export_model

    export_model(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
