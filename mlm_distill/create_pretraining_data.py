"""Makes instances of masked language modelling from raw text: windows, whole-word masks, next sentences.

python -m mlm_distill.create_pretraining_data --input_dir texts --vocab_file vocab.txt --output_dir outputs/corpus
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script
from mlm_distill.options import CorpusOptions


def main(argv: list[str]) -> None:
    """Parses the command line and makes the corpus."""
    options = parse(CorpusOptions, argv, __doc__ or "", "python -m mlm_distill.create_pretraining_data")
    # After --help, which comes at once.
    from mlm_distill.corpus import create

    create(options)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
