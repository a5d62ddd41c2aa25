"""Trains one BERT of many widths and depths, taught by a fine-tuned teacher (DynaBERT, Hou et al. 2020).

python -m ofa_bert.run_glue_ofa --task_name sst-2 --data_dir DIR --model_name_or_path outputs/teacher --output_dir DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from ofa_bert.options import OfaOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(OfaOptions, argv, __doc__ or "", "python -m ofa_bert.run_glue_ofa")
    # After --help, which comes at once.
    from core.sweep import train_or_sweep
    from ofa_bert.train import train

    search = ["python", "-m", "ofa_bert.search", "--model_dir", options.output_dir, "--max_latency_ms", "…"]
    train_or_sweep(options, train, lambda data: [[*search, "--output_dir", "…"]])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
