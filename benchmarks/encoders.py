"""Two real encoders: a Chinese one with the layers of the bundled English one, and a masked-LM head for that one.

    python -m benchmarks.encoders --language zh --data_dir DIR_WITH_TEXT

What is trained is the product's own: mlm_distill.create_pretraining_data, init_student, run_distill --teacher none. The
vocabulary of the Chinese one are the characters of the text and the commonest pieces of what stands between them in
letters and digits; the text is that of zh_corpus, none of which stands in an evaluation set. A run goes on from its
checkpoint; the result holds the accuracy at hidden places of held-out text against steps, and its picture is beside it.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import recipe
from benchmarks.common import RESULTS, parser, work_dir, write_result
from console import run_script
from deploy.charts import lines, standalone
from files import write_atomically

PICTURES = RESULTS.parent / "pictures"
# Characters rarer than this are unknown; pieces of letters and digits.
RARE, PIECES = 4, 3000
SHAPE = (
    *("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"),
    "max_position_embeddings",
)
CORPUS = {"max_seq_length": 128, "doc_stride": 128, "short_seq_prob": 0.0, "dynamic_masking": True, "held_out": 0.005}
TRAINING: dict[str, dict[str, Any]] = {
    "zh": {
        "max_steps": 4000,
        "train_batch_size": 32,
        "learning_rate": 5e-4,
        "warmup_proportion": 0.05,
        # One pass over few tokens, so more of each is to be learnt (Wettig et al. 2023): two fifths are hidden.
        "masked_lm_prob": 0.4,
        "max_predictions_per_seq": 52,
        "eval_steps": 250,
    },
    "en": {
        "max_steps": 2000,
        "train_batch_size": 32,
        "learning_rate": 1e-3,
        "warmup_proportion": 0.05,
        "masked_lm_prob": 0.2,
        "max_predictions_per_seq": 26,
        "eval_steps": 250,
    },
}
# Where the layers of the English encoder learn too: a step takes longer, and what they know is not to be lost.
ALL_LAYERS = {"max_steps": 800, "learning_rate": 4e-4, "eval_steps": 100}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--language", choices=tuple(TRAINING), default="zh")
    made.add_argument("--trained", choices=("all", "head"), default="all", help="of the English one: what learns")
    made.add_argument(
        "--jobs", type=int, default=1, help="of how many at a time this is one: 2 takes half of the cores"
    )
    made.add_argument("--steps", type=int, default=None, help="of the training, when the machine's hours are few")
    made.add_argument("--only_report", action="store_true", help="train nothing: write what is there")
    arguments = made.parse_args(argv)
    folder = work_dir(arguments.work_dir) / "encoders"
    target = encoder_folder(folder, arguments.language, arguments.trained)
    began = time.perf_counter()
    if not arguments.only_report:
        train(arguments, folder, target)
    if arguments.steps:
        # The result is that of the steps that are written above; others serve benchmarks.mlm_stages, which tells them.
        return
    earlier = json.loads((target / "metrics.json").read_text(encoding="utf-8"))["training"]["seconds"]
    arguments.only_report = False
    name = f"encoder_{arguments.language}" + ("_head" if arguments.trained == "head" else "")
    found = figures(target, folder / arguments.language / "corpus")
    write_result(name, arguments, found, max(earlier, time.perf_counter() - began), script="encoders")
    points = [(point["tokens"] / 1e6, 100 * point["accuracy"]) for point in found["evaluations"]]
    picture = lines(
        {"held-out text": points}, "million tokens read", "accuracy at hidden places, %", ("held-out text",)
    )
    write_atomically(PICTURES / f"{name}.svg", standalone(picture))


def encoder_folder(folder: Path, language: str, trained: str = "all") -> Path:
    """Where an encoder is, or will be."""
    return folder / language / ("head" if trained == "head" else "encoder")


def train(arguments: argparse.Namespace, folder: Path, target: Path) -> None:
    """Vocabulary, corpus, first weights, training."""
    language, place = arguments.language, folder / arguments.language
    place.mkdir(parents=True, exist_ok=True)
    shared: dict[str, Any] = {"cache_dir": str(folder / "cache")}
    if language == "zh":
        source = {"vocab_file": str(place / "vocab.txt")}
        if not (place / "vocab.txt").is_file():
            write_vocabulary(arguments.data_dir, place)
    else:
        source = {"model_name": "all-MiniLM-L6-v2"}
    corpus = {"input_dir": str(arguments.data_dir), "output_dir": str(place / "corpus"), "language": language}
    recipe.run("mlm_distill.create_pretraining_data", {**corpus, **CORPUS, **source, **shared}, jobs=1)
    start = place / "start"
    # The layers have learnt English: from random ones nothing but frequent characters is learnt in as many steps.
    own = {"teacher_dir": "all-MiniLM-L6-v2", "layers": "0,1,2,3,4,5", "head": "random", "seed": arguments.seed}
    own |= {"input_file": str(place / "corpus"), **(source if language == "zh" else {})}
    recipe.once("mlm_distill.init_student", {**own, "output_dir": str(start), **shared})
    options = {
        **TRAINING[language],
        **(ALL_LAYERS if language == "en" and arguments.trained == "all" else {}),
        **({"max_steps": arguments.steps} if arguments.steps else {}),
        **shared,
        "input_file": str(place / "corpus"),
        "student_model": str(start),
        "teacher": "none",
        "trained": arguments.trained,
        "output_dir": str(target),
        "seed": arguments.seed,
        "resume": True,
    }
    recipe.run("mlm_distill.run_distill", options, jobs=arguments.jobs)


def write_vocabulary(text: str, folder: Path) -> None:
    """The Chinese vocabulary of a folder with text."""
    from data.corpus import corpus_files
    from data.tokenization import WordPieceTokenizer
    from data.vocabulary import vocabulary_of_corpus

    WordPieceTokenizer(vocabulary_of_corpus(corpus_files([str(text)]), RARE, PIECES, str.isascii)).save(folder)


def figures(target: Path, corpus: Path) -> dict[str, Any]:
    """What the run has come to."""
    from core.checkpoint import read_metrics
    from core.train import LOG
    from models.folder import bert_shape

    metrics = read_metrics(target)
    record = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    tokens_a_row = record["tokens"] / record["rows"]
    shape, rows = bert_shape(target), metrics["training"]["rows"] / metrics["training"]["steps"]
    log = [json.loads(line) for line in (target / LOG).read_text(encoding="utf-8").splitlines()]
    return {
        "settings": {"corpus": CORPUS, "training": recorded_settings(target)},
        "shape": {name: getattr(shape, name) for name in SHAPE},
        "vocabulary": shape.vocab_size,
        "parameters": metrics["parameters"],
        "corpus": {name: record[name] for name in ("rows", "tokens", "held_out_rows")},
        "held_out": metrics["dev"],
        "steps": metrics["training"]["steps"],
        "tokens_read": round(metrics["training"]["rows"] * tokens_a_row),
        "training_minutes": round(metrics["training"]["seconds"] / 60, 1),
        "evaluations": [
            {
                "step": row["step"],
                "tokens": round(row["step"] * rows * tokens_a_row),
                "accuracy": row["accuracy"],
                "perplexity": row["perplexity"],
            }
            for row in log
            if row["part"] == "evaluation"
        ],
    }


def recorded_settings(target: Path) -> dict[str, Any]:
    """The options of a run that a reader needs."""
    given = json.loads((target / "training_args.json").read_text(encoding="utf-8"))
    options = given.get("options", given)
    return {
        name: options[name]
        for name in ("trained", "batch_size", "learning_rate", "max_steps", "masked_lm_prob", "seed")
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
