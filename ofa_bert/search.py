"""Finds the best sub-network within a budget, measured on this machine, and exports it.

python -m ofa_bert.search --model_dir outputs/ofa --data_dir DIR --output_dir outputs/found --max_latency_ms 5
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from ofa_bert.options import SearchOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(SearchOptions, argv, __doc__ or "", "python -m ofa_bert.search")
    # After --help, which comes at once.
    from ofa_bert.find import search

    search(options)
    out = options.output_dir.rstrip("/")
    say_next(["python", "-m", "deploy.predict", "--model_dir", f"{out}/static", "--text", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
