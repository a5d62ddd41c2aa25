"""Makes a vocabulary out of raw text: its characters, and its commonest words of several.

python -m mlm_distill.create_vocabulary --input_dir texts --output_file vocab.txt
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from mlm_distill.options import VocabularyOptions


def main(argv: list[str]) -> None:
    """Parses the command line and writes the vocabulary."""
    options = parse(VocabularyOptions, argv, __doc__ or "", "python -m mlm_distill.create_vocabulary")
    # After --help, which comes at once.
    from mlm_distill.corpus import create_vocabulary

    create_vocabulary(options)
    words = ["python", "-m", "mlm_distill.create_pretraining_data", "--input_dir", *options.input_dir]
    say_next([*words, "--vocab_file", options.output_file, "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
