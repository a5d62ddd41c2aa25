"""The main job on other tasks: question pairs, Chinese reviews and titles; three seeds of each student.

    python -m benchmarks.tasks --task qqp --data_dir DIR

Checkpoints are chosen on rows held out of train, dev is only reported. No pre-trained Chinese encoder is at hand
offline: unless ``--teacher`` names one, the Chinese teacher is a small BERT over characters that begins with random
weights, which its record says.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import recipe
from benchmarks.common import parser, work_dir, write_result
from benchmarks.encoders import CORPUS
from benchmarks.recipe import Plan, measure
from console import InputError, run_script
from core.checkpoint import read_metrics
from data.pairs import NEAREST, RARE_WORD, REPAIRS
from demo import STUDENT, TEACHER
from files import write_atomically

TASKS = ("qqp", "chnsenticorp", "tnews", "afqmc")
# Of an encoder, before it is fine-tuned on reviews: masked language modelling of reviews (Gururangan et al. 2020).
ADAPTATION = {
    "max_steps": 2500,
    "train_batch_size": 32,
    "learning_rate": 4e-4,
    "warmup_proportion": 0.05,
    "masked_lm_prob": 0.4,
    "max_predictions_per_seq": 52,
    "eval_steps": 500,
}
# Weights of the teacher that reviews have adapted and of three Bi-LSTMs on labels alone, which know words of as many
# reviews. Half of the mean is the teacher's, as the Bi-LSTMs are three of one kind.
TOGETHER = (3, 1, 1, 1)
# Of that teacher, by the mean.
RELEARNING = {
    "teacher_weights": TOGETHER,
    "num_train_epochs": 1,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "warmup_proportion": 0.06,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "eval_steps": 300,
    "save_steps": 100,
    "average_checkpoints": 3,
    "holdout": 0.05,
}
EXTRA_PAIRS = "extra_positive.tsv"
REVIEWS = ("reviews_shopping_eprstmt.txt", "reviews_shopping_7cats.txt", "reviews_takeaway.txt")
# A character BERT that two cores can train from nothing.
FROM_SCRATCH = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 512,
}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--task", choices=TASKS, required=True)
    made.add_argument("--teacher", default=None, help="a pre-trained Chinese encoder, such as bert-wwm-ext-chinese")
    made.add_argument(
        "--adapt", action="store_true", help="of chnsenticorp: the encoder of --teacher reads reviews before labels"
    )
    made.add_argument(
        "--relearn",
        type=int,
        default=0,
        metavar="ROUNDS",
        help="with --adapt: so many times it then learns from its own answers and those of Bi-LSTMs together",
    )
    made.add_argument(
        "--together", action="store_true", help="with --adapt: teacher and Bi-LSTMs on labels alone teach together"
    )
    made.add_argument("--max_train_rows", type=int, default=12000, help="rows of tnews and afqmc; 0 takes all")
    made.add_argument("--reviews_dir", default=None, help=f"folder with {', '.join(REVIEWS)}, for chnsenticorp")
    made.add_argument(
        "--partners", type=int, default=1, help="of qqp, more than 1: new pairs of each question, and nothing else"
    )
    made.add_argument("--repair_with", choices=REPAIRS, default=RARE_WORD, help="of qqp: who the new partners are")
    made.add_argument("--pair_alignment", action="store_true", help="of qqp: students align the questions of a pair")
    recipe.add_precision(made)
    made.add_argument("--without_distilled", action="store_true", help="measure teachers and students alone")
    recipe.add_seeds(made)
    made.add_argument("--jobs", type=int, default=2, help="students trained at the same time")
    arguments = made.parse_args(argv)
    if arguments.partners < 1:
        raise InputError(f"--partners {arguments.partners}: expected at least 1")
    if arguments.partners == 1 and (arguments.pair_alignment or arguments.repair_with != RARE_WORD):
        raise InputError("--pair_alignment and --repair_with go with --partners of more than 1")
    recipe.check_precision(arguments.precision)
    began = time.perf_counter()
    # What begins with an encoder has another teacher.
    kind = "_adapted" if arguments.adapt else ""
    folder = work_dir(arguments.work_dir) / f"{arguments.task}{kind}{recipe.suffix(arguments.precision)}"
    planned = plan(arguments, folder)
    with_distilled = not arguments.without_distilled
    figures = measure(planned, arguments.data_dir, folder, arguments.jobs, with_distilled=with_distilled)
    spent = 60 * recipe.training_minutes(figures, arguments.jobs)
    if arguments.adapt:
        figures["settings"]["adaptation"] = ADAPTATION
        spent += read_metrics(folder / "adapted")["training"]["seconds"]
    # What earlier commands trained counts too.
    seconds = max(spent, time.perf_counter() - began)
    write_result(result_name(arguments), arguments, figures, seconds, script="tasks")


def result_name(arguments: argparse.Namespace) -> str:
    """Another way to train on a task is a result of its own, beside the one of the usual way."""
    if arguments.together:
        return f"{arguments.task}_together"
    if arguments.relearn:
        return f"{arguments.task}_relearnt"
    if arguments.adapt:
        return f"{arguments.task}_adapted"
    nearest = "_nearest" if arguments.repair_with == NEAREST else ""
    if nearest or arguments.pair_alignment:
        return f"{arguments.task}{nearest}{'_aligned' if arguments.pair_alignment else ''}"
    return arguments.task if arguments.partners == 1 else f"{arguments.task}_partners"


def plan(arguments: argparse.Namespace, folder: Path) -> Plan:
    """What is trained on a task."""
    of_pairs = {
        "--partners": arguments.partners != 1,
        "--repair_with": arguments.repair_with != RARE_WORD,
        "--pair_alignment": arguments.pair_alignment,
    }
    for option, given in of_pairs.items():
        if given and arguments.task != "qqp":
            raise InputError(f"{option} goes with --task qqp: it is not measured on {arguments.task}")
    if arguments.adapt and (arguments.task != "chnsenticorp" or not arguments.teacher):
        raise InputError("--adapt goes with --task chnsenticorp and the encoder that --teacher names")
    if arguments.relearn < 0:
        raise InputError(f"--relearn {arguments.relearn}: expected a number of rounds")
    if arguments.relearn and not arguments.adapt:
        raise InputError("--relearn goes with --adapt")
    if arguments.together and not arguments.adapt:
        raise InputError("--together goes with --adapt")
    seeds = recipe.distinct(arguments.seeds)
    if (arguments.relearn or arguments.together) and len(seeds) != len(TOGETHER) - 1:
        raise InputError(f"--seeds: expected {len(TOGETHER) - 1} where the students on labels alone teach too")
    if arguments.task == "qqp":
        made = question_pairs(arguments.data_dir, arguments.partners, arguments.pair_alignment, arguments.repair_with)
    else:
        made = chinese(arguments, folder)
    return replace(made, seeds=seeds, precision=arguments.precision)


def question_pairs(data_dir: str, partners: int = 1, aligned: bool = False, repair_with: str = RARE_WORD) -> Plan:
    """QQP: once over augmented rows, once with questions that meet new partners, also those of the extra file.

    Args:
        data_dir: of the task.
        partners: more than 1: that many new ones of each question, and neither copies nor the first two.
        aligned: students compare the tokens of a pair before they read them.
        repair_with: who the new partners are.
    """
    teacher = {**TEACHER, "batch_size": 32, "num_train_epochs": 5, "eval_steps": 0, "holdout": 0.05}
    student = {**STUDENT, "holdout": 0.05, **({"pair_alignment": True} if aligned else {})}
    extra = os.path.join(data_dir, EXTRA_PAIRS)
    epochs = 3
    transfer_sets: dict[str, dict[str, Any]] = {
        "augmented": {"n_iter": 5},
        "repaired": {"n_iter": 1, "repair_pairs": 1, "unlabeled_file": (extra,)},
    }
    if partners > 1:
        # Other pairs say more than the same ones a third time.
        epochs = 2
        made = {"n_iter": 0, "repair_pairs": partners, "unlabeled_file": (extra,)}
        name = f"{partners}-new-partners"
        if repair_with != RARE_WORD:
            made, name = {**made, "repair_with": repair_with}, f"{partners}-{repair_with}-partners"
        transfer_sets = {name: made}
    return Plan(
        "qqp",
        teacher,
        student,
        alone={"max_epoch": 12, "eval_steps": 0},
        distilled={"max_epoch": epochs, "eval_steps": 0},
        transfer_sets=transfer_sets,
        kind="_aligned" if aligned else "",
    )


def chinese(arguments: argparse.Namespace, folder: Path) -> Plan:
    """Chinese tasks: words for the student, characters for the teacher.

    For reviews, students start from word vectors of the training rows and of other reviews, as the published ones start
    from vectors of an encyclopedia.
    """
    teacher: dict[str, Any] = {**TEACHER, "batch_size": 64, "num_train_epochs": 6, "eval_steps": 0, "holdout": 0.05}
    encoder = arguments.teacher or str(from_scratch(arguments, folder / "untrained"))
    teacher["model_name_or_path"] = str(adapted(arguments, folder)) if arguments.adapt else encoder
    if arguments.teacher:
        # What begins with knowledge overfits after half of the epochs that random weights need.
        teacher["num_train_epochs"] = 3
    student = {**STUDENT, "embedding_init": "random", "embedding_size": 300, "dropout_prob": 0.3, "holdout": 0.05}
    teacher["max_seq_length"] = student["max_seq_length"] = 256 if arguments.task == "chnsenticorp" else 64
    transfer_sets: dict[str, dict[str, Any]] = {}
    if arguments.task == "chnsenticorp":
        student |= {"embedding_path": str(vectors(arguments, folder / "reviews.vec")), "pooling": "max"}
        student["max_grad_norm"] = 1.0
        alone, distilled, copies = 6, 3, 2
        if arguments.teacher:
            # A teacher that knows more than the labels has something to say of other reviews.
            transfer_sets["reviews"] = {"n_iter": 0, "unlabeled_file": tuple(reviews(arguments))}
    else:
        # A part of the rows, so that a student sees as many as two cores manage in some minutes.
        teacher["max_train_rows"] = student["max_train_rows"] = arguments.max_train_rows
        alone, distilled, copies = 6, 3, 1
    several = arguments.relearn or arguments.together
    if not several:
        transfer_sets["augmented"] = {"n_iter": copies}
    # A teacher that had no pre-training knows little more than the labels do.
    taught: dict[str, Any] = {"alpha": 0.0 if arguments.teacher else 0.5}
    if several:
        # Students that were to hit logits stayed two points behind those on labels alone, over the same rows too.
        taught = {"alpha": 0.5, "distill_loss": "soft_ce"}
    return Plan(
        arguments.task,
        teacher,
        student,
        alone={"max_epoch": alone, "eval_steps": 0},
        distilled={"max_epoch": distilled, "eval_steps": 0, **taught},
        transfer_sets=transfer_sets,
        relearning={**RELEARNING, "max_seq_length": teacher["max_seq_length"]},
        rounds=arguments.relearn,
        together=TOGETHER if arguments.together else (),
    )


def vectors(arguments: argparse.Namespace, path: Path) -> Path:
    """Word vectors of the task's training rows and other reviews, none of which has a label."""
    from benchmarks.word_vectors import word_vectors, write_vectors
    from data.sources import read_lines

    if not path.is_file():
        more = [text for name in reviews(arguments) for text in read_lines(name).texts[0]]
        write_vectors(path, *word_vectors([*training_texts(arguments), *more], "zh", 300))
    return path


def reviews(arguments: argparse.Namespace) -> list[str]:
    """Files of reviews without labels."""
    if arguments.reviews_dir is None:
        raise InputError(f"--reviews_dir is required: a folder with {', '.join(REVIEWS)}")
    return [os.path.join(arguments.reviews_dir, name) for name in REVIEWS]


def training_texts(arguments: argparse.Namespace) -> list[str]:
    """The texts of the task's training rows."""
    from data.sources import find_split, read_rows
    from data.tasks import get_task

    rows, _ = read_rows(find_split(arguments.data_dir, "train"), get_task(arguments.task))
    return [text for column in rows.texts for text in column]


def adapted(arguments: argparse.Namespace, folder: Path) -> Path:
    """The encoder after some steps of masked language modelling over the task's training rows and other reviews."""
    own, target = folder / "training.txt", folder / "adapted"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(own, "\n\n".join(training_texts(arguments)) + "\n")
    shared = {"cache_dir": str(folder / "cache")}
    corpus = {"input_dir": (str(own), *reviews(arguments)), "model_name": arguments.teacher, "language": "zh"}
    corpus |= {**CORPUS, **shared, "output_dir": str(folder / "reviews")}
    recipe.run("mlm_distill.create_pretraining_data", corpus, jobs=1)
    learnt = {**ADAPTATION, **shared, "input_file": str(folder / "reviews"), "student_model": arguments.teacher}
    learnt |= {"teacher": "none", "seed": arguments.seed, "resume": True, "output_dir": str(target)}
    recipe.run("mlm_distill.run_distill", learnt, jobs=1)
    return target


def from_scratch(arguments: argparse.Namespace, folder: Path) -> Path:
    """A BERT with random weights whose vocabulary is the characters of the task's training rows."""
    from data.streams import generator
    from data.tokenization import WordPieceTokenizer
    from data.vocabulary import characters
    from files import new_folder
    from models.bert import BertConfig, BertForSequenceClassification, initial_weights
    from models.weights import write_safetensors

    if folder.is_dir():
        return folder
    pieces = characters(training_texts(arguments))
    config = BertConfig(vocab_size=len(pieces), **FROM_SCRATCH)
    with new_folder(folder) as temporary:
        WordPieceTokenizer(pieces).save(temporary)
        shape = BertForSequenceClassification(config).config_dict()
        (temporary / "config.json").write_text(json.dumps(shape), encoding="utf-8")
        weights = initial_weights(config, generator(arguments.seed, "initialisation"))
        write_safetensors(temporary / "model.safetensors", weights)
    return folder


if __name__ == "__main__":
    raise SystemExit(run_script(main))
