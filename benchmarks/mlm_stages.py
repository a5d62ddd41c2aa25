"""MiniRBT-H256 from the Chinese encoder of benchmarks.encoders: in one stage, in two, and alone for as many tokens.

    python -m benchmarks.encoders --language zh --steps 1200 --data_dir DIR_WITH_TEXT
    python -m benchmarks.mlm_stages --data_dir DIR_WITH_TEXT --tasks_dir DIR

All students start with the same weights, cut out of the encoder (in two stages out of the assistant), and take as many
steps over the same instances. Each is then fine-tuned on Chinese tasks below --tasks_dir, with three seeds; checkpoints
are chosen on rows held out of train, dev is only reported. The encoder itself learns to read: CMRC 2018 has no training
file offline, so that is from its trial set. Runs are found again when they have finished, and go on from their
checkpoints.

With --with_text distilled students learn from the hidden pieces too, beside their teachers' answers, which are not
softened then; the student alone is the same.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import recipe
from benchmarks.common import parser, work_dir, write_result
from benchmarks.encoders import encoder_folder
from console import InputError, run_script

SEEDS = (1, 2, 3)
STUDENTS = ("alone", "one_stage", "two_stage")
TUNED = ("encoder", *STUDENTS)
STEPS = 400
DISTILLATION = {
    "max_steps": STEPS,
    "batch_size": 32,
    "learning_rate": 5e-4,
    "warmup_proportion": 0.05,
    "masked_lm_prob": 0.2,
    "max_predictions_per_seq": 26,
    "eval_steps": 200,
}
# The published 8, without the factor T squared, is for a hundred times as many steps.
FROM_ANSWERS = {"temperature": 2.0}
FROM_BOTH = {"temperature": 1.0, "mlm_weight": 1.0}
# The published assistant has half of its teacher's layers and the student as many as it; here all have six, and the
# assistant stands between the two in width.
CUT = {"hidden_init": "principal"}
ASSISTANT = {**CUT, "hidden_size": "320", "intermediate_size": "1280", "num_attention_heads": "10"}
STUDENT = {**CUT, "preset": "minirbt-h256"}
# A part of the rows, so that 27 trainings take two cores less than an hour; titles and questions are short.
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "chnsenticorp": {"max_seq_length": 128, "num_train_epochs": 3, "batch_size": 32, "max_train_rows": 1200},
    "tnews": {"max_seq_length": 64, "num_train_epochs": 3, "batch_size": 32, "max_train_rows": 4000},
    "afqmc": {"max_seq_length": 64, "num_train_epochs": 3, "batch_size": 32, "max_train_rows": 4000},
}
TUNING = {"learning_rate": 1e-4, "holdout": 0.05, "average_checkpoints": 2}
# What the encoder is fine-tuned on; from a thousand questions its students would learn nothing.
OF_ENCODER = ("cmrc2018",)
READING = {"max_seq_length": 384, "num_train_epochs": 3, "learning_rate": 1e-4, "batch_size": 16, "holdout": 0.05}
# Its three thousand questions of dev take as long as the training.
SEEDS_OF_READING = (1,)


@dataclass(frozen=True)
class Folders:
    """Where models are.

    Attributes:
        encoder: what everything begins with.
        own: of this way to distil.
        shared: of what no teacher has taught, which is the same in both ways.
    """

    encoder: Path
    own: Path
    shared: Path

    @staticmethod
    def below(root: Path, name: str) -> Folders:
        """Those of the measurement ``name`` in a working folder."""
        return Folders(encoder_folder(root / "encoders", "zh"), root / name, root / "mlm_stages")

    def trained(self, name: str) -> Path:
        """The folder of a pre-trained model."""
        return self.encoder if name == "encoder" else self._where(name) / name

    def tuned(self, name: str, task: str, seed: int) -> Path:
        """The folder of its fine-tuning."""
        return self._where(name) / "tuned" / f"{name}-{task}-{seed}"

    def _where(self, name: str) -> Path:
        return self.shared if name in ("encoder", "alone") else self.own


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--tasks_dir", required=True, help=f"folder with {', '.join((*CLASSIFIERS, 'cmrc2018'))}")
    made.add_argument("--tasks", nargs="+", choices=(*CLASSIFIERS, "cmrc2018"), default=[*CLASSIFIERS, "cmrc2018"])
    made.add_argument("--with_text", action="store_true", help="learn from hidden pieces and answers, unsoftened")
    made.add_argument("--jobs", type=int, default=1, help="trainings at the same time")
    made.add_argument("--only_report", action="store_true", help="train nothing: write what is there")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    root = work_dir(arguments.work_dir)
    name = "mlm_stages_with_text" if arguments.with_text else "mlm_stages"
    folders = Folders.below(root, name)
    if not (folders.encoder / "metrics.json").is_file():
        message = "no encoder here yet; run python -m benchmarks.encoders --language zh first"
        raise InputError(f"{folders.encoder}: {message}")
    if not arguments.only_report:
        pretrain(arguments, root / "encoders" / "zh" / "corpus", folders)
        fine_tune(arguments, folders)
    arguments.only_report = False
    found = figures(arguments, folders)
    # What earlier commands trained counts too, the encoder does not.
    trained = 60 * found["training_minutes"] / arguments.jobs
    write_result(name, arguments, found, max(trained, time.perf_counter() - began), script="mlm_stages")


def tasks_of(name: str, wanted: Sequence[str]) -> list[str]:
    """What a model is fine-tuned on."""
    return [task for task in wanted if (task in OF_ENCODER) == (name == "encoder")]


def seeds_of(task: str) -> tuple[int, ...]:
    """Of the trainings on a task."""
    return SEEDS_OF_READING if task in OF_ENCODER else SEEDS


def answers(arguments: argparse.Namespace) -> dict[str, float]:
    """How a teacher teaches."""
    return FROM_BOTH if arguments.with_text else FROM_ANSWERS


def pretrain(arguments: argparse.Namespace, corpus: Path, folders: Folders) -> None:
    """The assistant and the three students."""

    def start(folder: Path, teacher: Path, shape: dict[str, str]) -> str:
        options = {**shape, "teacher_dir": str(teacher), "output_dir": str(folder), "seed": arguments.seed}
        recipe.once("mlm_distill.init_student", options)
        return str(folder)

    def learn(name: str, first: str, teacher: str) -> None:
        options = {
            **DISTILLATION,
            "input_file": str(corpus),
            "student_model": first,
            "teacher": teacher,
            "output_dir": str(folders.trained(name)),
            "cache_dir": str(folders.shared / "cache"),
            "seed": arguments.seed,
            "resume": True,
        }
        if teacher != "none":
            options |= answers(arguments)
        recipe.run("mlm_distill.run_distill", options, jobs=arguments.jobs)

    cut = start(folders.shared / "student_start", folders.encoder, STUDENT)
    wide = start(folders.shared / "assistant_start", folders.encoder, ASSISTANT)

    def one_stage() -> None:
        learn("alone", cut, "none")
        learn("one_stage", cut, str(folders.encoder))

    def two_stages() -> None:
        assistant = folders.trained("assistant")
        learn("assistant", wide, str(folders.encoder))
        learn("two_stage", start(folders.own / "from_assistant_start", assistant, STUDENT), str(assistant))

    recipe.at_once([two_stages, one_stage], arguments.jobs)


def fine_tune(arguments: argparse.Namespace, folders: Folders) -> None:
    """Every student on every task, with every seed."""
    work = []
    for name in TUNED:
        for task in tasks_of(name, arguments.tasks):
            for seed in seeds_of(task):
                options = {
                    "task_name": task,
                    "data_dir": str(Path(arguments.tasks_dir) / task),
                    "model_name_or_path": str(folders.trained(name)),
                    "output_dir": str(folders.tuned(name, task, seed)),
                    "cache_dir": str(folders.shared / "cache"),
                    "seed": seed,
                    "resume": True,
                }
                reading = task == "cmrc2018"
                options |= READING if reading else {**TUNING, **CLASSIFIERS[task]}
                script = "finetune.run_mrc" if reading else "finetune.run_classifier"
                work.append((script, options))
    recipe.run_all(work, arguments.jobs)


def figures(arguments: argparse.Namespace, folders: Folders) -> dict[str, Any]:
    """What the runs that are there have come to."""
    from core.checkpoint import read_metrics

    def known(folder: Path) -> dict[str, Any] | None:
        return read_metrics(folder) if (folder / "metrics.json").is_file() else None

    settings = {
        "assistant": ASSISTANT,
        "student": STUDENT,
        "distillation": {**DISTILLATION, **answers(arguments)},
        "tuning": TUNING,
        "tasks": CLASSIFIERS,
        "reading": READING,
    }
    models, spent = {}, 0.0
    for name in ("assistant", *STUDENTS):
        if (record := known(folders.trained(name))) is not None:
            spent += record["training"]["seconds"]
    for name in TUNED:
        if (record := known(folders.trained(name))) is None:
            continue
        tasks = {}
        for task in tasks_of(name, arguments.tasks):
            runs = [known(folders.tuned(name, task, seed)) for seed in seeds_of(task)]
            spent += sum(run["training"]["seconds"] for run in runs if run is not None)
            there = [run["dev"] for run in runs if run is not None]
            if there:
                tasks[task] = {
                    metric: {"mean": statistics.mean(values), "per_seed": values}
                    for metric in there[0]
                    for values in [[dev[metric] for dev in there]]
                }
        models[name] = {
            "parameters": record["parameters"],
            "steps": record["training"]["steps"],
            "held_out": record["dev"],
            "tasks": tasks,
        }
    return {"settings": settings, "models": models, "training_minutes": round(spent / 60, 1)}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
