"""The main job on the built-in corpus, from nothing to its last table, with a stopwatch.

    python -m benchmarks.demo_run

What is timed is ``make demo`` after the install, with a cache of its own, so that nothing is found that an earlier run
has left.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ROOT, parser, write_result
from console import run_script
from files import read_json

KEPT = ("model", "parameters", "bytes", "accuracy", "gap_closed", "p50_ms", "rows_per_second", "latency_speedup")


def main(argv: list[str]) -> None:
    """Runs the demo in a folder of its own and writes the result."""
    arguments = parser(__doc__ or "", reads_data=False).parse_args(argv)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = ["--output_dir", str(folder / "out"), "--cache_dir", str(folder / "cache")]
        subprocess.run([sys.executable, str(ROOT / "demo.py"), *words], cwd=place, check=True)
        seconds = time.perf_counter() - began
        found = read_json(folder / "out" / "summary.json")
        page = (folder / "out" / "report.html").stat().st_size
    models = [{name: model[name] for name in KEPT} for model in found["models"]]
    write_result("demo_run", arguments, {"models": models, "seconds": round(seconds), "report_bytes": page}, seconds)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
