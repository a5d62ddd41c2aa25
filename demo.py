"""The main job, end to end: teacher, Bi-LSTM alone, distilled Bi-LSTM, export, prediction, comparison.

python demo.py                                       # built-in corpus, a few minutes
python demo.py --task sst-2 --data_dir DIR           # real data
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import shutil
import time
from pathlib import Path
from typing import Any

from args import Options, option, parse
from console import duration, run_script, say, table
from data.demo_corpus import english_raw_text, write_folder
from data.options import CACHE_DIR
from data.tasks import TEACHERS, get_task
from distill_lstm.options import DistillOptions, SmallOptions
from files import cache_folder, write_atomically, write_json
from finetune.options import FinetuneOptions

BUILT_IN = "demo"
BUILT_IN_ROWS = (2000, 600)

# Chosen on rows held out of the training rows; benchmarks/sst2.py measures them.
TEACHER = {
    "learning_rate": 1e-4,
    "num_train_epochs": 4,
    "batch_size": 128,
    "warmup_proportion": 0.06,
    "weight_decay": 0.01,
    "average_checkpoints": 3,
    "eval_steps": 250,
    "holdout": 0.02,
}
STUDENT = {
    "embedding_init": "teacher",
    "embedding_size": 384,
    "optimizer": "adam",
    "lr": 1e-3,
    "lr_scheduler": "linear",
    "batch_size": 128,
    "average_checkpoints": 3,
    "dropout_prob": 0.1,
    "holdout": 0.02,
}
ALONE = {"max_epoch": 6, "eval_steps": 250}
DISTILLED = {"max_epoch": 4, "n_iter": 10, "eval_steps": 1000}
SMALL_DATA = {
    "teacher": {
        "num_train_epochs": 3,
        "batch_size": 32,
        "average_checkpoints": 0,
        "eval_steps": 0,
        "holdout": 0.05,
    },
    "alone": {"eval_steps": 0, "holdout": 0.05, "embedding_init": "teacher"},
    "distilled": {"max_epoch": 4, "n_iter": 6, "eval_steps": 0, "holdout": 0.05},
}

OFA = {
    "width_mult_list": (1.0, 0.75, 0.5),
    "depth_mult_list": (1.0, 0.5),
    "num_train_epochs": 1,
    "learning_rate": 1e-4,
    "warmup_proportion": 0.06,
    "batch_size": 32,
    "holdout": 0.02,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
# TinyBERT's published shape; a BERT that is narrower already keeps its width, and of few layers half.
TINYBERT = {
    "num_train_epochs": 3,
    "learning_rate": 2e-4,
    "warmup_proportion": 0.06,
    "batch_size": 32,
    "holdout": 0.05,
    "max_seq_length": 128,
}
# Of the passes over rows with labels two go to the layers, and over as many copies as rows.
TINYBERT_DISTILLED = {
    "intermediate_epochs": 2,
    "num_train_epochs": 1,
    "intermediate_learning_rate": 5e-4,
    "aug_train": True,
    "N": 1,
}
TINYBERT_SMALL = {
    "alone": {"num_train_epochs": 2, "max_train_rows": 1500},
    "distilled": {"intermediate_epochs": 1, "max_train_rows": 1500},
}
TINYBERT_SHAPE = {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200, "num_attention_heads": 12}
# Lines of the built-in text, facts and reviews, and how masked language models learn from them.
MLM_LINES, MLM_REVIEWS = 1600, 1800
MLM_CORPUS: dict[str, Any] = {
    "language": "en",
    "max_seq_length": 64,
    "doc_stride": 64,
    "short_seq_prob": 0.0,
    "dupe_factor": 1,
    "held_out": 0.05,
}
MLM_TEACHER = {
    "batch_size": 32,
    "num_train_epochs": 2,
    "learning_rate": 5e-4,
    "warmup_proportion": 0.1,
    "logging_steps": 20,
}
MLM_DISTILL = {
    "batch_size": 32,
    "num_train_epochs": 2,
    "learning_rate": 5e-4,
    "warmup_proportion": 0.1,
    "logging_steps": 20,
}
MLM_STAGES: dict[str, Any] = {
    "assistant": {"init": {"layers": "0,2,5"}, "answers": {"truncation_factor": 64}, "distill": {**MLM_DISTILL}},
    "student": {
        "init": {
            "layers": "0,1,2",
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_attention_heads": 8,
            "hidden_init": "principal",
        },
        # In a short training the published temperature of 8 leaves little to be learnt from the answers.
        "distill": {**MLM_DISTILL, "learning_rate": 2e-3, "temperature": 1.0},
    },
}
MLM_STAGES["assistant"]["distill"]["truncation_factor"] = 64
MLM_ALONE = {**MLM_DISTILL, "learning_rate": 2e-3}
# Rows of the built-in corpus that the once-for-all network learns from, and the share of the encoder it may keep.
OFA_ROWS = 1500
ENCODER_SHARE = 0.51

EXAMPLES = {
    "single-en": [
        ("Even though the humour is simply awful, I was won over by the film as a whole.",),
        ("I enjoyed the performances, yet there is not a single memorable scene in this film.",),
    ],
    "single-zh": [("房间虽然不大，但是非常干净，服务也很好",), ("书的内容并不精彩，看得很失望",)],
    "pair-en": [
        ("How do I learn to swim?", "What is the best way to learn swimming?"),
        ("How do I travel from Oslo to Rome?", "How do I travel from Rome to Oslo?"),
    ],
    "pair-zh": [("花呗怎么还款", "花呗如何还钱"), ("花呗怎么还款", "花呗怎么开通")],
}


class DemoOptions(Options):
    """Options of ``demo.py``."""

    recipe: str = option(
        "lstm",
        "distil into a Bi-LSTM or a TinyBERT, train a once-for-all BERT, or distil a masked language model",
        choices=("lstm", "ofa", "tinybert", "mlm"),
    )
    task: str = option(
        BUILT_IN, "demo (built-in corpus), or a task of the registry such as sst-2 or chnsenticorp", group="data"
    )
    data_dir: str | None = option(
        None, "folder with the task's train and dev files; downloaded when left out", group="data"
    )
    teacher: str | None = option(
        None,
        "the pre-trained BERT: a folder, or a name that PaddleNLP downloads; "
        f"{TEACHERS['en']}, or {TEACHERS['zh']} for Chinese tasks, when left out",
        group="model",
    )
    output_dir: str = option("outputs/demo", "folder that receives everything")
    cache_dir: str | None = option(None, CACHE_DIR)
    resume: bool = option(False, "use stages that an earlier run finished, and go on with the one that was under way")
    overwrite: bool = option(False, "start all stages anew")
    seed: int = option(42, "the seed of all stages")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.task == BUILT_IN and self.data_dir:
            found.append("--data_dir goes with --task and the name of a registered task")
        if self.overwrite and self.resume:
            found.append("--overwrite and --resume exclude each other")
        if self.recipe == "mlm" and self.task != BUILT_IN:
            found.append(f"--task {self.task}: --recipe mlm reads built-in text; mlm_distill.two_stage reads yours")
        return found


def main(argv: list[str]) -> None:
    """Parses the command line and runs the demo."""
    run(parse(DemoOptions, argv, __doc__ or "", "python demo.py"))


def run(options: DemoOptions) -> dict[str, Any]:
    """Runs all stages; those that have finished are found again.

    Returns:
        What ``summary.json`` in the output folder holds.
    """
    from core.metrics import MAIN_METRIC

    began = time.perf_counter()
    built_in = options.task == BUILT_IN
    task = get_task("sst-2" if built_in else options.task)
    folder = Path(options.output_dir)
    if not built_in:
        folder = folder / task.name
    data_dir = _built_in_data(folder, options) if built_in else options.data_dir
    shared = {
        "task_name": task.name,
        "data_dir": data_dir,
        "seed": options.seed,
        "cache_dir": options.cache_dir,
        "resume": options.resume,
        "overwrite": options.overwrite,
    }
    examples = EXAMPLES[f"{'pair' if task.is_pair else 'single'}-{task.language}"]
    teacher = options.teacher or TEACHERS[task.language]
    if options.recipe == "ofa":
        return run_ofa(folder, shared, teacher, built_in, examples, began)
    if options.recipe == "mlm":
        return run_mlm(folder / "mlm", shared, teacher, began)
    if options.recipe == "tinybert":
        place, name = folder / "tinybert", "summary-tinybert.json"
        metrics = train_tinyberts(folder, place, shared, teacher, small=built_in)
    else:
        place, name = folder, "summary.json"
        metrics = train_stages(folder, shared, teacher, small=built_in)
    models = {"teacher": folder / "teacher", "alone": place / "alone", "distilled": place / "distilled"}
    exported = export_stages(models, place / "exported", data_dir)
    say("\n== 5 of 5: the exported student predicts, and is compared")
    _predict(exported["distilled"], examples)
    records = _compare(exported, data_dir)
    metric = MAIN_METRIC[task.metric]
    rows = summary_rows(metrics, exported, records, metric)
    summary = {"task": options.task, "seed": options.seed, "models": rows}
    write_json(folder / name, summary)
    say(f"\n{summary_table(rows, metric)}\n")
    _report(folder)
    say(f"{folder}: done in {duration(time.perf_counter() - began)}")
    return summary


def _built_in_data(folder: Path, options: DemoOptions) -> str:
    target = folder / "data"
    if options.overwrite or not (target / "dev.tsv").is_file():
        write_folder("sst-2", target, *BUILT_IN_ROWS, options.seed)
    return str(target)


def train_stages(folder: Path, shared: dict[str, Any], teacher: str, small: bool) -> dict[str, dict[str, Any]]:
    """Fine-tunes the teacher and trains the student without and with it."""
    from distill_lstm.train import distill, train_small

    changes = SMALL_DATA if small else {"teacher": {}, "alone": {}, "distilled": {}}
    teacher_dir = str(folder / "teacher")
    metrics = {"teacher": train_teacher(teacher_dir, shared, teacher, small, "1 of 5")}
    student = {**STUDENT, "embedding_size": min(384, _hidden_size(teacher_dir))}
    if get_task(shared["task_name"]).language == "zh":
        # A Chinese student reads words, the teacher characters: there are no embeddings to take over.
        student.update(embedding_init="random", embedding_size=300)
    say("\n== 2 of 5: a Bi-LSTM on labels alone")
    alone = {**shared, **student, **ALONE, **changes["alone"], "teacher_dir": teacher_dir}
    metrics["alone"] = train_small(SmallOptions(**alone, output_dir=str(folder / "alone")))
    say("\n== 3 of 5: the same Bi-LSTM distilled from the teacher")
    distilled = {**shared, **student, **DISTILLED, **changes["distilled"], "teacher_dir": (teacher_dir,)}
    metrics["distilled"] = distill(DistillOptions(**distilled, output_dir=str(folder / "distilled")))
    return metrics


def train_tinyberts(
    folder: Path, place: Path, shared: dict[str, Any], teacher: str, small: bool
) -> dict[str, dict[str, Any]]:
    """Fine-tunes the teacher, and trains a TinyBERT from its layers without and with its answers."""
    from tinybert.options import TaskDistillOptions
    from tinybert.train import distill

    teacher_dir = str(folder / "teacher")
    metrics = {"teacher": train_teacher(teacher_dir, shared, teacher, small, "1 of 5")}
    student = {**shared, **TINYBERT, **tinybert_shape(teacher_dir), "teacher_model": teacher_dir}
    say("\n== 2 of 5: a TinyBERT from the teacher's layers, on labels alone")
    changes = TINYBERT_SMALL if small else {"alone": {}, "distilled": {}}
    alone = {**student, "stage": "prediction", "alpha": 1.0, **changes["alone"]}
    metrics["alone"] = distill(TaskDistillOptions(**alone, output_dir=str(place / "alone")))
    say("\n== 3 of 5: the same TinyBERT distilled: layers, then answers, over rows with copies")
    distilled = {**student, **TINYBERT_DISTILLED, **changes["distilled"]}
    metrics["distilled"] = distill(TaskDistillOptions(**distilled, output_dir=str(place / "distilled")))
    return metrics


def tinybert_shape(teacher_dir: str) -> dict[str, int]:
    """TinyBERT's shape for a teacher that is larger; else half of the teacher's layers."""
    from models.folder import bert_shape

    config = bert_shape(teacher_dir)
    whole = {name: getattr(config, name) for name in TINYBERT_SHAPE}
    if all(whole[name] >= value for name, value in TINYBERT_SHAPE.items()):
        return TINYBERT_SHAPE
    return {**whole, "num_hidden_layers": max(1, config.num_hidden_layers // 2)}


def train_teacher(folder: str, shared: dict[str, Any], teacher: str, small: bool, number: str) -> dict[str, Any]:
    """Fine-tunes the teacher, which both recipes share."""
    from finetune.train import finetune

    say(f"\n== {number}: the teacher ({teacher})")
    changes = SMALL_DATA["teacher"] if small else {}
    return finetune(
        FinetuneOptions(**{**shared, **TEACHER, **changes, "model_name_or_path": teacher, "output_dir": folder})
    )


def run_ofa(
    folder: Path,
    shared: dict[str, Any],
    teacher: str,
    small: bool,
    examples: list[tuple[str, ...]],
    began: float,
) -> dict[str, Any]:
    """Trains a once-for-all network, finds the sub-network that keeps most of its accuracy, and lets it predict.

    Returns:
        What ``summary-ofa.json`` in the folder holds.
    """
    from models.folder import bert_shape
    from models.pretrained import resolve_pretrained
    from ofa_bert.find import STATIC, search
    from ofa_bert.options import OfaOptions, SearchOptions
    from ofa_bert.shapes import make_shapes
    from ofa_bert.train import train

    # Before the teacher is fine-tuned: its heads and layers may not divide into these shares.
    pretrained = resolve_pretrained(teacher, cache_folder(shared["cache_dir"]))
    make_shapes(vars(bert_shape(pretrained)), OFA["width_mult_list"], OFA["depth_mult_list"])
    train_teacher(str(folder / "teacher"), shared, teacher, small, "1 of 4")
    say("\n== 2 of 4: one network of many widths and depths")
    place, found = folder / "ofa", folder / "found"
    changes = {"max_train_rows": OFA_ROWS} if small else {}
    metrics = train(
        OfaOptions(
            **{**shared, **OFA, **changes, "model_name_or_path": str(folder / "teacher"), "output_dir": str(place)}
        )
    )
    say("\n== 3 of 4: the most accurate sub-network that is small enough")
    limits = {"max_encoder_params": f"{ENCODER_SHARE * _encoder_parameters(place):.0f}"}
    chosen = search(
        SearchOptions(
            model_dir=str(place), data_dir=shared["data_dir"], output_dir=str(found), overwrite=True, **limits
        )
    )
    say("\n== 4 of 4: its static graph predicts")
    _predict(found / STATIC, examples)
    summary = {
        "task": shared["task_name"],
        "seed": shared["seed"],
        "whole": metrics["dev"],
        "chosen": {"width": chosen.shape.width, "depth": chosen.shape.depth, "score": chosen.score},
    }
    write_json(folder / "summary-ofa.json", summary)
    _report(folder)
    say(f"\n{folder}: done in {duration(time.perf_counter() - began)}")
    return summary


def run_mlm(place: Path, shared: dict[str, Any], teacher: str, began: float) -> dict[str, Any]:
    """Makes an encoder a masked language model, and distils that through an assistant into a small one.

    Returns:
        What ``summary-mlm.json`` in the folder holds.
    """
    from core.checkpoint import read_metrics
    from deploy.comparison import compared, show_comparison
    from mlm_distill.corpus import create
    from mlm_distill.options import CorpusOptions, InitStudentOptions, RunDistillOptions, TwoStageOptions
    from mlm_distill.stages import run_stages
    from mlm_distill.student import init_student
    from mlm_distill.train import distill

    if shared["overwrite"]:
        shutil.rmtree(place, ignore_errors=True)
    text, cache = place / "text.txt", shared["cache_dir"]
    if not text.is_file():
        write_atomically(text, _raw_text(Path(shared["data_dir"]), shared["seed"]))
    say("\n== 1 of 5: the encoder gets a masked-LM head and learns the text")
    corpus = {"input_dir": (str(text),), "model_name": teacher, "cache_dir": cache, **MLM_CORPUS}
    create(CorpusOptions(**corpus, output_dir=str(place / "corpus"), dynamic_masking=True))
    plain = {"teacher": "none", "cache_dir": cache, "seed": shared["seed"]}
    learnt = {"input_file": str(place / "corpus"), "student_model": teacher, "output_dir": str(place / "teacher")}
    distill(RunDistillOptions(**plain, **learnt, **MLM_TEACHER, resume=(place / "teacher").is_dir()))
    say("\n== 2 and 3 of 5: teacher to assistant by stored answers, assistant to student by states and answers")
    config = place / "two_stage.json"
    write_json(
        config,
        {"teacher": str(place / "teacher"), "corpus": {"input_dir": [str(text)], **MLM_CORPUS}, **MLM_STAGES},
    )
    run_stages(TwoStageOptions(config=str(config), output_dir=str(place / "stages"), cache_dir=cache))
    say("\n== 4 of 5: the student's shape with random weights learns the text alone, for as many steps")
    random, alone, shape = place / "random", place / "alone", MLM_STAGES["student"]["init"]
    if not random.is_dir():
        sizes = {name: value for name, value in shape.items() if name not in ("layers", "hidden_init")}
        sizes |= {"num_hidden_layers": len(str(shape["layers"]).split(",")), "init": "random", "head": "random"}
        init_student(InitStudentOptions(teacher_dir=teacher, output_dir=str(random), **sizes))
    learnt = {"input_file": str(place / "stages" / "corpus"), "student_model": str(random), "output_dir": str(alone)}
    distill(RunDistillOptions(**plain, **learnt, **MLM_ALONE, resume=alone.is_dir()))
    say("\n== 5 of 5: sizes and speeds")
    stages = {name: place / "stages" / name for name in ("assistant", "student")}
    records = compared([str(path) for path in (place / "teacher", *stages.values())], 0, 64, 3, 20, 32)
    show_comparison(records, 32)
    folders = {"teacher": place / "teacher", **stages, "student's shape, alone": alone}
    figures = {name: read_metrics(path)["dev"] for name, path in folders.items()}
    rows = [
        (name, *(f"{found[key]:.4f}" if key in found else "–" for key in ("accuracy", "perplexity", "agreement")))
        for name, found in figures.items()
    ]
    say("")
    say(table(("on held-out text", "accuracy at hidden places", "perplexity", "agreement with its teacher"), rows))
    summary = {"seed": shared["seed"], "models": records, "held_out": figures}
    write_json(place / "summary-mlm.json", summary)
    _report(place)
    say(f"\n{place}: done in {duration(time.perf_counter() - began)}")
    return summary


def _raw_text(data_dir: Path, seed: int) -> str:
    """Built-in sentences on facts, and the training sentences of the task, without their labels, some a document."""
    rows = (data_dir / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    reviews = [row.split("\t")[0] for row in rows[:MLM_REVIEWS]]
    documents = ["\n".join(reviews[start : start + 5]) for start in range(0, len(reviews), 5)]
    return "\n\n".join(["\n".join(english_raw_text(MLM_LINES, seed)), *documents]) + "\n"


def _encoder_parameters(folder: Path) -> int:
    from models.folder import load
    from ofa_bert.sub_model import encoder_parameters

    return encoder_parameters(load(folder))


def _report(folder: Path) -> None:
    """A page on all that stands in a folder, to look at."""
    from deploy.options import ReportOptions
    from deploy.reporting import report

    report(ReportOptions(run=(str(folder),), output_file=str(folder / "report.html")))


def _hidden_size(folder: str) -> int:
    from models.folder import read_config

    return int(read_config(folder)["hidden_size"])


def export_stages(models: dict[str, Path], place: Path, data_dir: str | None) -> dict[str, Path]:
    """Exports the models, each into a folder of its name in ``place``."""
    from deploy.exporter import export
    from deploy.options import ExportOptions

    say("\n== 4 of 5: export to static graphs")
    exported = {}
    for name, folder in models.items():
        exported[name] = place / name
        export(ExportOptions(model_dir=str(folder), output_dir=str(exported[name]), data_dir=data_dir, overwrite=True))
    return exported


def _predict(folder: Path, examples: list[tuple[str, ...]]) -> None:
    from deploy.predictor import Predictor

    for prediction in Predictor(folder).predict(examples):
        answer = f"{prediction.logits[0]:.2f}"
        if prediction.probability is not None:
            answer = f"{prediction.label} ({prediction.probability:.0%})"
        say(f"  {answer}  {' / '.join(prediction.texts)}")


def _compare(exported: dict[str, Path], data_dir: str | None) -> dict[str, dict[str, Any]]:
    from deploy.timing import measure_alternating

    folders = [str(path) for path in exported.values()]
    return dict(zip(exported, measure_alternating(folders, len(os.sched_getaffinity(0)), data_dir), strict=True))


def summary_rows(
    metrics: dict[str, dict[str, Any]], exported: dict[str, Path], records: dict[str, dict[str, Any]], metric: str
) -> list[dict[str, Any]]:
    """One record per model: size, the task's main metric on dev, gap closed, speed."""
    from core.metrics import gap_closed

    score = {name: values["dev"][metric] for name, values in metrics.items()}
    try:
        closed = gap_closed(score["teacher"], score["alone"], score["distilled"])
    except ValueError:
        closed = None
    return [
        {
            "model": name,
            "parameters": metrics[name]["parameters"],
            "bytes": sum(path.stat().st_size for path in exported[name].iterdir()),
            metric: score[name],
            "gap_closed": closed if name == "distilled" else None,
            **{
                key: records[name][key]
                for key in ("p50_ms", "p99_ms", "rows_per_second", "throughput_speedup", "latency_speedup")
            },
        }
        for name in exported
    ]


def summary_table(rows: list[dict[str, Any]], metric: str) -> str:
    """The table that the demo ends with."""
    header = (
        "model",
        "parameters",
        "on disk",
        f"dev {metric}",
        "gap closed",
        "p50 ms",
        "p99 ms",
        "rows/s",
        "speed-up b1",
        "speed-up b32",
    )
    return table(
        header,
        [
            (
                row["model"],
                f"{row['parameters'] / 1e6:.1f} M",
                f"{row['bytes'] / 1e6:.0f} MB",
                f"{row[metric]:.4f}",
                "-" if row["gap_closed"] is None else f"{row['gap_closed']:.0%}",
                f"{row['p50_ms']:.2f}",
                f"{row['p99_ms']:.2f}",
                f"{row['rows_per_second']:,.0f}",
                f"{row['latency_speedup']:.1f}x",
                f"{row['throughput_speedup']:.1f}x",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    raise SystemExit(run_script(main))
