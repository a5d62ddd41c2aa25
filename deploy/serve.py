"""Answers over HTTP with an export folder, requests that come together in one batch; on this machine alone by default.

python -m deploy.serve --model_dir outputs/exported
curl localhost:8080/predict --data '["a gripping, funny film"]'
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from deploy.options import ServeOptions


def main(argv: list[str]) -> None:
    """Parses the command line and runs."""
    options = parse(ServeOptions, argv, __doc__ or "", "python -m deploy.serve")
    # After --help, which comes at once.
    from deploy.server import serve

    serve(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
