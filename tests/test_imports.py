"""Imports point down, and what does not train starts without the libraries that train."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {"args", "console", "files", "process", "demo"}
FLOORS = {"data", "models", "core", "deploy"}
RECIPES = {path.parent.name for path in ROOT.glob("*/__init__.py")} - FLOORS - {"tests", "benchmarks"}
LOCAL = FILES | FLOORS | RECIPES
LEAVES = {"args", "console", "files", "process"}

# What each room may import of the project, besides itself.
ALLOWED = {
    "console": set(),
    "process": {"console"},
    "args": {"console"},
    "files": {"console"},
    "data": LEAVES,
    "models": {"console", "files", "data"},
    "core": {*LEAVES, "data", "models"},
    "deploy": {*LEAVES, "data", "models", "core"},
    "demo": LOCAL,
    **{recipe: {*LEAVES, "data", "models", "core"} for recipe in RECIPES},
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (
        *(ROOT / f"{name}.py" for name in FILES),
        *(p for room in LOCAL - FILES for p in ROOT.glob(f"{room}/**/*.py")),
    )
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(nodes: list[ast.AST]) -> set[str]:
    """Full names of the modules that ``nodes`` import; those of ``from room import module`` too."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(whole & MODULES.keys() or {node.module})
    return found


@cache
def all_imports(module: str) -> set[str]:
    return imported(list(ast.walk(tree(module))))


def imports_at_start(module: str) -> set[str]:
    return imported(tree(module).body)


@cache
def scripts() -> list[str]:
    """Modules with ``if __name__ == "__main__"``."""
    return sorted(module for module in MODULES if "'__main__'" in ast.unparse(tree(module)))


def test_the_rooms_are_those_of_the_design():
    assert {module.split(".")[0] for module in MODULES} >= FLOORS
    assert {"finetune", "distill_lstm"} <= RECIPES


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module):
    room = module.split(".")[0]
    upward = {
        name
        for name in all_imports(module)
        if name.split(".")[0] in LOCAL - {room} and not {name, name.split(".")[0]} & ALLOWED[room]
    }
    assert upward == set()


def test_no_two_files_need_each_other():
    """No circle of imports, of any length; those within functions and for annotations count too."""
    needs = {module: all_imports(module) & MODULES.keys() - {module} for module in MODULES}
    while free := [module for module, wanted in needs.items() if not wanted & needs.keys()]:
        for module in free:
            del needs[module]
    assert needs == {}


def test_only_the_demo_joins_recipes():
    joined = {module: {name.split(".")[0] for name in all_imports(module)} & RECIPES for module in MODULES}
    assert {module for module, recipes in joined.items() if len(recipes) > 1} == {"demo"}


@pytest.mark.parametrize("module", [*sorted(LEAVES), "data.tasks"])
def test_leaves_need_the_standard_library_only(module):
    outside = {name.split(".")[0] for name in imports_at_start(module)} - sys.stdlib_module_names
    assert outside <= LEAVES


@pytest.mark.parametrize("room", sorted(RECIPES | {"data", "deploy"}))
def test_work_has_its_imports_at_the_top(room):
    """A script calls its work after --help; the work itself imports late only what is seldom needed."""
    late = {
        (module, name)
        for module in MODULES
        if module.startswith(f"{room}.") and module not in scripts()
        for name in all_imports(module) - imports_at_start(module)
        if name.split(".")[0] in LOCAL
    }
    assert late <= {("deploy.labelling", "core.distributed"), ("deploy.evaluation", "deploy.trained")}


@pytest.mark.parametrize("room", ["data", "deploy"])
def test_rooms_that_know_no_training_library(room):
    found = {name.split(".")[0] for m in MODULES if m.startswith(f"{room}.") for name in imports_at_start(m)}
    assert found.isdisjoint({"paddlenlp", "paddleslim", "torch", "transformers"})


def test_the_data_floor_computes_without_paddle():
    found = {name.split(".")[0] for m in MODULES if m.startswith("data.") for name in all_imports(m)}
    assert "paddle" not in found


def loaded_after(code: str) -> list[str]:
    """Which of the large libraries a fresh process has loaded after ``code``."""
    ask = "print([m for m in ('numpy', 'paddle', 'paddlenlp', 'paddleslim', 'tokenizers') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{ask}"],
        cwd=ROOT,
        env={**os.environ, "PADDLEDISTILL_NO_TUNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_prediction_loads_no_training_library():
    loaded = loaded_after("import deploy.predictor, deploy.predict")
    assert not {"paddlenlp", "paddleslim"} & set(loaded)


HELP = """
import runpy
sys.argv = ["script", "--help"]
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit as done:
    assert done.code in (0, None), done.code
"""


@pytest.mark.parametrize("module", scripts())
def test_help_is_quick_to_come(module):
    assert not {"paddle", "paddlenlp", "paddleslim"} & set(loaded_after(HELP.format(module=module)))


@pytest.mark.parametrize("module", scripts())
def test_a_script_sets_up_its_process_before_anything_else(module):
    first = next(node for node in tree(module).body if not isinstance(node, (ast.Expr, ast.ImportFrom)))
    assert ast.unparse(first) == "if __name__ == '__main__':\n    import process\n    process.tune()"
    before = [node for node in tree(module).body if node.lineno < first.lineno]
    assert imported(before) <= {"__future__"}
