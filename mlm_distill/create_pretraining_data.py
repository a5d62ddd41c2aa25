"""Makes instances of masked language modelling from raw text: windows, whole-word masks, next sentences.

python -m mlm_distill.create_pretraining_data --input_dir texts --vocab_file vocab.txt --output_dir outputs/corpus
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from args import parse
from console import run_script, say_next
from mlm_distill.options import CorpusOptions


def main(argv: list[str]) -> None:
    """Parses the command line and makes the corpus."""
    options = parse(CorpusOptions, argv, __doc__ or "", "python -m mlm_distill.create_pretraining_data")
    # After --help, which comes at once.
    from mlm_distill.corpus import create

    create(options)
    if not options.dry_run and not options.write_reference:
        out = options.output_dir
        ask = ["python", "-m", "mlm_distill.create_teacher_output_data", "--input_file", out, "--teacher_dir", "…"]
        learn = ["python", "-m", "mlm_distill.run_distill", "--input_file", out, "--teacher", "…"]
        say_next([*ask, "--output_dir", "…"], [*learn, "--student_model", "…", "--output_dir", "…"])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
