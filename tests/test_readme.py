"""The README's commands are ones that the scripts and the Makefile accept, and its figures come from result files."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest

from args import parse
from benchmarks.readme import PAGES, PICTURE, TABLES, filled, recipes_picture
from core import arithmetic
from data.overview import OverviewOptions
from deploy.options import BenchmarkOptions, EvaluateOptions, ExportOptions, PredictOptions, ReportOptions, ServeOptions
from distill_lstm.options import AugmentDataOptions, DistillOptions, SmallOptions
from finetune.options import FinetuneOptions, ImportOptions, MrcOptions
from mlm_distill.options import (
    CorpusOptions,
    InitStudentOptions,
    RunDistillOptions,
    TeacherOutputOptions,
    TwoStageOptions,
    VocabularyOptions,
)
from ofa_bert.options import OfaOptions, SearchOptions, SubModelOptions
from tinybert.options import GeneralDistillOptions, TaskDistillOptions, TinyAugmentOptions

ROOT = Path(__file__).resolve().parent.parent
PAGES_OF_COMMANDS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PYTHON = ROOT / "docs" / "python.md"
OPTIONS = {
    "finetune.run_classifier": FinetuneOptions,
    "distill_lstm.small": SmallOptions,
    "distill_lstm.bert_distill": DistillOptions,
    "distill_lstm.augment_data": AugmentDataOptions,
    "data.tasks": OverviewOptions,
    "deploy.export": ExportOptions,
    "deploy.predict": PredictOptions,
    "deploy.serve": ServeOptions,
    "deploy.benchmark": BenchmarkOptions,
    "deploy.evaluate": EvaluateOptions,
    "deploy.report": ReportOptions,
    "ofa_bert.run_glue_ofa": OfaOptions,
    "ofa_bert.search": SearchOptions,
    "ofa_bert.export_model": SubModelOptions,
    "tinybert.general_distill": GeneralDistillOptions,
    "tinybert.data_augmentation": TinyAugmentOptions,
    "tinybert.task_distill": TaskDistillOptions,
    "mlm_distill.create_vocabulary": VocabularyOptions,
    "mlm_distill.create_pretraining_data": CorpusOptions,
    "mlm_distill.create_teacher_output_data": TeacherOutputOptions,
    "mlm_distill.init_student": InitStudentOptions,
    "mlm_distill.run_distill": RunDistillOptions,
    "mlm_distill.two_stage": TwoStageOptions,
    "finetune.run_mrc": MrcOptions,
    "finetune.import_classifier": ImportOptions,
}


def commands() -> list[list[str]]:
    """Every command line in a shell block of the README and of the other pages, as words."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES_OF_COMMANDS]
    blocks = [block for text in texts for block in re.findall(r"```shell\n(.*?)```", text, re.S)]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


SCRIPTS = [words for words in commands() if words[:2] == ["python", "-m"]]
MAKES = [words for words in commands() if words[0] == "make"]


def test_the_readme_has_commands_of_every_script():
    assert {words[2] for words in SCRIPTS} >= OPTIONS.keys()
    assert len(SCRIPTS) + len(MAKES) == len(commands())


@pytest.mark.parametrize("words", [w for w in SCRIPTS if w[2] in OPTIONS], ids=lambda words: " ".join(words[2:5]))
def test_script_commands_parse(words, monkeypatch):
    # Commands of the pages are those of all machines.
    monkeypatch.setattr(arithmetic, "read_cpuinfo", lambda: "flags : amx_bf16")
    options = parse(OPTIONS[words[2]], words[3:], "")
    given = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    assert given <= vars(options).keys()


@pytest.mark.parametrize("words", [w for w in SCRIPTS if w[2] not in OPTIONS], ids=lambda words: words[2])
def test_other_modules_exist(words):
    assert callable(importlib.import_module(words[2]).main)


@pytest.mark.parametrize("words", MAKES, ids=lambda words: " ".join(words))
def test_make_targets_exist(words):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = words[1]
    if target.startswith("bench-"):
        name = target.removeprefix("bench-").replace("-", "_")
        assert callable(importlib.import_module(f"benchmarks.{name}").main)
        target = "bench-%"
    assert re.search(rf"^{re.escape(target)}:", makefile, re.M)
    variables = [word.partition("=")[0] for word in words[2:]]
    assert all(re.search(rf"\$\({name}\)", makefile) for name in variables)


def code_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("page", [p for p in PAGES_OF_COMMANDS if code_blocks(p)], ids=lambda page: page.name)
def test_what_examples_in_python_import_is_there(page):
    for block in code_blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(
                    hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")
                    for name in node.names
                )


def test_functions_of_the_page_on_python_take_the_options_beside_them():
    rows = re.findall(r"^\| [^|]+ \| `?([\w.]+)`?[^|]* \| `([\w.]+)` \|$", PYTHON.read_text(encoding="utf-8"), re.M)
    assert len(rows) >= 17
    for options, function in rows:
        module, _, name = function.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        (first, *_) = inspect.signature(found).parameters.values()
        if options != "theirs":
            assert first.annotation == options.rpartition(".")[2]
            assert hasattr(importlib.import_module(options.rpartition(".")[0]), first.annotation)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_result_files(page):
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text


def test_every_result_has_a_place():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert text.count(f"<!-- {path.stem} -->") == 1, path.stem


def test_the_picture_is_that_of_the_result_files():
    assert PICTURE.read_text(encoding="utf-8") == recipes_picture()


def test_links_between_pages_lead_somewhere():
    for page in (*PAGES, *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


# Results of scripts that measure several tasks.
BY_TASK = {
    **{task: ("tasks", task) for task in ("qqp", "chnsenticorp", "tnews", "afqmc")},
    "ofa_sst2": ("ofa", "sst-2"),
    "ofa_qqp": ("ofa", "qqp"),
    "ofa_sst2_closer": ("ofa", "sst-2"),
    "ofa_qqp_closer": ("ofa", "qqp"),
    "tinybert_sst2": ("tinybert", "sst-2"),
    "tinybert_qqp": ("tinybert", "qqp"),
    "tinybert_sst2_copies": ("tinybert", "sst-2"),
    "tinybert_qqp_copies": ("tinybert", "qqp"),
    "sst2_averaged": ("sst2", None),
    **dict.fromkeys((f"qqp_{way}" for way in ("partners", "aligned", "nearest", "nearest_aligned")), ("tasks", "qqp")),
    "mlm_stages_with_text": ("mlm_stages", None),
    "chnsenticorp_adapted": ("tasks", "chnsenticorp"),
    "chnsenticorp_relearnt": ("tasks", "chnsenticorp"),
    "chnsenticorp_together": ("tasks", "chnsenticorp"),
    **dict.fromkeys(("encoder_zh", "encoder_en", "encoder_en_head"), ("encoders", None)),
}


def test_results_say_how_they_were_made():
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert {path.stem for path in results} <= TABLES.keys()
    for path in results:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert {"command", "seed", "date", "minutes", "versions", "machine", "figures"} <= record.keys()
        words = record["command"].split()
        script, task = BY_TASK.get(path.stem, (path.stem, None))
        assert words[:3] == ["python", "-m", f"benchmarks.{script}"]
        assert task is None or words[words.index("--task") + 1] == task
