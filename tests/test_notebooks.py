"""Notebooks run from a clean kernel with the smallest parameters, say what they should, and are committed bare."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
import tiny
from nbclient import NotebookClient

from process import MARK, OFF

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NAMES = ("deploy", "distill_lstm", "mlm_distill", "ofa_bert", "tinybert")
SMALL = {
    "deploy": {"ROWS": 60, "EPOCHS": 1, "ROUNDS": 1, "MAX_DROP": 100.0},
    "distill_lstm": {"ROWS": (48, 24), "TEACHER_EPOCHS": 1, "STUDENT_EPOCHS": 1, "COPIES": 1},
    "mlm_distill": {
        "LINES": 60,
        "ROWS": (48, 24),
        "EPOCHS": 1,
        "TUNED_EPOCHS": 1,
        "ASSISTANT": {"layers": "0,1"},
        "STUDENT": {"layers": "1", "hidden_size": 8, "intermediate_size": 32, "num_attention_heads": 2},
    },
    "ofa_bert": {"ROWS": (48, 24), "TEACHER_EPOCHS": 1, "WIDTHS": (1.0, 0.5)},
    "tinybert": {"ROWS": (48, 24), "TEACHER_EPOCHS": 1, "LAYERS": 1, "STAGE_EPOCHS": (1, 1)},
}


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def as_users_have_it():
    """The environment without what the tests set, which would hide what Paddle says of threads."""
    return {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", MARK, OFF)}


def outputs(notebook, kind):
    return [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == kind]


def test_every_recipe_has_its_notebook():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_bare_and_well_formed(name):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1
    # The first cell that runs sets the kernel up, before anything imports Paddle.
    assert "process.tune_here()" in code[0].source
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_links_of_a_notebook_lead_somewhere(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (FOLDER / target).is_file(), target


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_beginning_to_end(name, tmp_path):
    # Word pieces of the rows: an encoder that reads [UNK] alone would answer every row alike.
    encoder = tiny.write_pretrained(tmp_path / "bert", max_position_embeddings=128, initializer_range=0.1)
    run(name, tmp_path, {**SMALL[name], "ENCODER": str(encoder)})


def test_rows_of_ones_own_in_chinese_go_through_the_cell_of_parameters(tmp_path):
    data = tiny.write_chinese(tmp_path / "data")
    own = {"FILE": str(data / "train.tsv"), "TEXT_COLUMN": "text_a", "LANGUAGE": "zh", "TEXTS": ["这部电影很好"]}
    small = {name: value for name, value in SMALL["distill_lstm"].items() if name != "ROWS"}
    # The encoder at hand reads English alone.
    said = run("distill_lstm", tmp_path, {**small, **own, "ENCODER": "scratch"})
    assert "54 rows to learn from, 6 to evaluate on" in said
    assert re.search(r"^[01] \(\d+%\)  这部电影很好$", said, flags=re.MULTILINE)


def run(name, tmp_path, values):
    """Runs a notebook with other parameters; what it printed."""
    notebook = read(name)
    place = next(n for n, cell in enumerate(notebook.cells) if cell.metadata.get("tags") == ["parameters"])
    values = {**values, "OUT": str(tmp_path / "out")}
    changed = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    known = set(re.findall(r"^([A-Z_]+) = ", notebook.cells[place].source, flags=re.MULTILINE))
    assert set(values) <= known
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(changed))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}).execute(
        env=as_users_have_it()
    )
    said = "".join(output.text for output in outputs(notebook, "stream"))
    assert "Warning" not in said and "WARNING" not in said
    assert "note: " not in said.splitlines()[0]
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert report.count("<svg") >= 3
    if name != "deploy":
        shown = [output.data.get("text/html", "") for output in outputs(notebook, "execute_result")]
        assert any("data:image/svg+xml" in html for html in shown)
    else:
        assert any(re.search("'(praise|complaint)'", str(o.data)) for o in outputs(notebook, "execute_result"))
    return said


def test_parameters_are_those_that_the_text_names():
    for name in NAMES:
        source = json.dumps([cell.source for cell in read(name).cells])
        for parameter in SMALL[name]:
            assert source.count(parameter) >= 2, f"{name}: {parameter} is set and not read"
