"""The report: models are found and joined with their exports, figures are those of the runs, the page is whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny

from console import InputError, run_script
from data.sources import Rows
from data.tasks import get_task
from deploy import report as script
from deploy.charts import Point, lines, scatter, standalone
from deploy.options import ReportOptions
from deploy.report_data import (
    Found,
    Group,
    _by_seed,
    command,
    curves,
    disagreements,
    find_models,
    groups_of,
    searches,
    teacher_of,
)
from deploy.report_page import summary, training_part
from deploy.reporting import report
from distill_lstm.options import DistillOptions
from distill_lstm.train import distill
from finetune.options import FinetuneOptions
from finetune.train import finetune

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DANGEROUS = "<script>alert(1)</script> & a fine film"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A teacher, a student with two seeds, an export of the first student."""
    from deploy.exporter import export
    from deploy.options import ExportOptions

    root = tmp_path_factory.mktemp("runs")
    tiny.write_pretrained(root / "bert", max_position_embeddings=128)
    tiny.write_single(root / "data", train=32, dev=11)
    with open(root / "data" / "dev.tsv", "a", encoding="utf-8") as dev:
        dev.write(f"{DANGEROUS}\t1\n")
    shared = {"task_name": "sst-2", "data_dir": str(root / "data"), "max_steps": 6, "logging_steps": 2, "eval_steps": 3}
    shared["cache_dir"] = str(root / "cache")
    out = root / "out"
    finetune(FinetuneOptions(**shared, model_name_or_path=str(root / "bert"), output_dir=str(out / "teacher")))
    for seed in (1, 2):
        distill(
            DistillOptions(
                **shared,
                teacher_dir=str(out / "teacher"),
                output_dir=str(out / f"student-{seed}"),
                seed=seed,
                alpha=0.5,
                n_iter=1,
                hidden_size=8,
                embedding_size=8,
            )
        )
    export(ExportOptions(model_dir=str(out / "student-1"), output_dir=str(out / "exported")))
    return out


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    """The report on all of them."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    report(ReportOptions(run=(str(runs),), output_file=str(path), rounds=1, speed_rows=2))
    return path


class Reader(HTMLParser):
    """Cells of tables, and tags that must be closed."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.tables, self.references = [], [], []

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr" and self.tables:
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


def test_models_are_found_seeds_are_joined_and_exports_belong_to_what_they_were_made_from(runs):
    teacher, student = find_models([str(runs)])
    assert (student.name, teacher.name) == ("student-1", "teacher")
    assert [one.name for one in student.others] == ["student-1", "student-2"]
    assert student.static == runs / "exported" and teacher.static is None
    assert student.scores == [one.metrics["dev"]["accuracy"] for one in student.others]
    assert student.mean == pytest.approx(np.mean(student.scores))
    assert student.deviation == pytest.approx(np.std(student.scores, ddof=1))


def test_an_export_alone_is_a_model(runs, tmp_path):
    (found,) = find_models([str(runs / "exported")])
    assert (found.folder, found.static, found.name) == (None, runs / "exported", "exported")
    assert found.parameters > 0 and found.score is None
    assert found.task.name == "sst-2"


def test_curves_are_those_of_the_log(runs):
    (_, student) = find_models([str(runs)])
    (curve,) = curves(student)
    rows = [json.loads(line) for line in (runs / "student-1" / "metrics.jsonl").read_text().splitlines()]
    assert curve.losses["hard"] == [(row["step"], row["hard"]) for row in rows if row["part"] == "train"]
    assert set(curve.losses) == {"loss", "hard", "soft"}
    assert [step for step, _ in curve.evaluations["accuracy"]] == [3, 6]


def test_what_the_teacher_chose_by_is_drawn_beside_the_metric(runs, tmp_path):
    shutil.copytree(runs / "student-1", tmp_path / "student-1")
    told = "distance to the teacher"
    assert told not in training_part(find_models([str(tmp_path)]))
    log = tmp_path / "student-1" / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    near = [{**row, "kl": 0.1} if row["part"] == "evaluation" else row for row in rows]
    log.write_text("".join(json.dumps(row) + "\n" for row in near))
    page = training_part(find_models([str(tmp_path)]))
    # The caption, and what is read aloud in place of the picture.
    assert page.count(told) == 2
    assert "evaluations on the rows that choose checkpoints" in page


def test_a_log_whose_last_line_was_being_written_is_read_and_a_damaged_one_is_named(runs, tmp_path):
    folder = tmp_path / "student"
    shutil.copytree(runs / "student-1", folder)
    log = folder / "metrics.jsonl"
    whole = curves(find_models([str(folder)])[0])
    log.write_text(log.read_text() + '{"step": 7, "pa')
    assert curves(find_models([str(folder)])[0]) == whole
    log.write_text("3\n" + log.read_text())
    with pytest.raises(InputError, match=r"metrics.jsonl, line 1: damaged"):
        curves(find_models([str(folder)])[0])


def test_the_command_of_a_run_gives_its_options_again(runs):
    teacher, student = find_models([str(runs)])
    words = command(student).split()
    assert words[:3] == ["python", "-m", "distill_lstm.bert_distill"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given["--seed"] == "1" and given["--alpha"] == "0.5" and given["--teacher_dir"] == str(runs / "teacher")
    # What was left out stays out.
    assert "--lr" not in given and "--resume" not in given
    assert command(teacher).startswith("python -m finetune.run_classifier --")


def test_disagreements_by_hand():
    task = get_task("sst-2").with_labels(["0", "1"])
    logit = lambda *shares: np.log(np.asarray([[1 - s, s] for s in shares], np.float32))  # noqa: E731
    student = Found("s", None, None, task=task, logits=logit(0.9, 0.4, 0.8, 0.1))
    teacher = Found("t", None, None, task=task, logits=logit(0.2, 0.45, 0.4, 0.6))
    rows = Rows((["a", "b", "c", "d"],), np.asarray([1, 0, 0, 1]))
    found = disagreements(student, teacher, rows, count=2)
    assert [row.texts for row in found] == [("a",), ("d",)]
    assert found[0].label == "1"
    assert found[0].student == ("1", pytest.approx(0.9)) and found[0].teacher == ("0", pytest.approx(0.8))
    # Rows that both label alike are none, however far apart.
    assert [row.texts for row in disagreements(student, teacher, rows)] == [("a",), ("d",), ("c",)]


def test_the_page_is_whole_offline_and_tells_the_figures(runs, page):
    reader = read(page)
    assert all(reference.startswith("#") for reference in reader.references)
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "url(http" not in text and "@import" not in text
    summary = reader.tables[0]
    by_model = {row[0]: dict(zip(summary[0], row, strict=True)) for row in summary[1:]}
    assert set(by_model) == {"student-1", "teacher"}
    scores = [json.loads((runs / f"student-{seed}" / "metrics.json").read_text())["dev"]["accuracy"] for seed in (1, 2)]
    mean, spread = 100 * np.mean(scores), 100 * np.std(scores, ddof=1)
    assert by_model["student-1"]["dev accuracy, %"] == f"{mean:.2f} ± {spread:.2f}"
    assert by_model["student-1"]["seeds"] == "2"
    assert float(by_model["teacher"]["ms a row"]) > 0
    assert by_model["teacher"]["faster by"] == "1.0×"
    assert by_model["student-1"]["dev rows"] == "12"
    # Every row stands in the confusions once.
    confusions = [table for table in reader.tables if table[0][0] == "label"]
    assert len(confusions) == 2
    for table in confusions:
        assert sum(int(cell) for row in table[1:] for cell in row[1:3]) == 12
    assert text.count("<svg") >= 6
    assert "python -m distill_lstm.bert_distill" in text


def test_texts_of_rows_are_no_code(runs, tmp_path):
    teacher, student = find_models([str(runs)])
    from deploy.report_page import disagreement_part

    rows = Rows(([DANGEROUS],), np.asarray([1]))
    student.logits, teacher.logits = np.asarray([[0.0, 3.0]]), np.asarray([[3.0, 0.0]])
    shown = disagreement_part(Group(student.task, [teacher, student], rows, "<b>sst-2"))
    assert "<b>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; a fine film" in shown
    assert "<script" not in shown


def test_charts_bring_their_colours_along_and_are_drawn_alike_twice():
    points = [Point("a & b", 1, 2, 0, 0.1), Point("<c>", 2, 3, 1)]
    drawn = scatter(points, "x", "y", [[0, 1]])
    assert drawn == scatter(points, "x", "y", [[0, 1]])
    assert "a &amp; b" in drawn and "&lt;c&gt;" in drawn
    assert "var(--series-1)" in drawn and not re.search("#010", drawn)
    alone = standalone(lines({"a": [(1, 2), (2, 1)], "b": [(1, 1)]}, "x", "y"))
    assert "prefers-color-scheme:dark" in alone and alone.startswith("<svg")
    for empty in (lambda: scatter([], "x", "y"), lambda: lines({"a": []}, "x", "y")):
        with pytest.raises(ValueError, match="a chart needs points"):
            empty()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--run is required"),
        (["--run", "nowhere"], "--run nowhere: no such folder"),
        (["--run", "EMPTY"], "no finished run, model folder or export folder here or below"),
        (["--run", "RUNS", "--output_file", "report.pdf"], "expected a name that ends in .html"),
        (["--run", "RUNS", "--input_file", "nope.tsv"], "--input_file nope.tsv: no such file"),
        (["--run", "RUNS", "--output_file", "nope/there/report.html"], "nope"),
    ],
)
def test_bad_input_is_told_in_one_line(runs, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "nope").write_text("a file")
    places = {"EMPTY": str(tmp_path / "empty"), "RUNS": str(runs)}
    assert run_script(script.main, [places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "report.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the page was not looked at in a browser")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_without_scrolling_sideways(page, tmp_path, width):
    measured = tmp_path / "measured.html"
    # A browser without a window is at least 500 wide: a frame is as narrow as a phone.
    measured.write_text(
        f"<iframe id=f width={width} height=900 src='{page.as_uri()}'></iframe><p id=r></p><script>"
        "onload=()=>{const d=f.contentDocument,e=d.documentElement;r.textContent=JSON.stringify({wide:e.scrollWidth,"
        "shown:f.clientWidth,"
        "first:d.querySelector('table').scrollWidth,"
        "charts:[...d.querySelectorAll('svg')].map(s=>s.getBoundingClientRect().height)})}</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            measured.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<p id="r">(.*?)</p>', done.stdout)
    assert found is not None and found[1], done.stderr[-2000:]
    figures = json.loads(found[1])
    assert figures["wide"] <= figures["shown"]
    # What a reader came for is seen whole where there is room.
    assert figures["first"] <= 1280 - 2 * 16 or width < 1280
    assert len(figures["charts"]) >= 6
    # Those of a training that is folded up have no height.
    assert sum(height > 100 for height in figures["charts"]) >= 6


def test_encoders_are_judged_by_the_hidden_pieces_that_they_find_larger_ones_first():
    small, large = (
        Found(
            name,
            None,
            None,
            {"dev": {"accuracy": share, "perplexity": 20.0}, "dev_rows": 62},
            {"script": "mlm_distill.run_distill"},
            parameters=count,
        )
        for name, share, count in (("a student", 0.2751, 10_500_000), ("teacher", 0.3301, 22_900_000))
    )
    assert [one.name for one in _by_seed([small, large])] == ["teacher", "a student"]
    reader = Reader()
    reader.feed(summary([large, small], []))
    assert reader.tables == [
        [
            ["model", "kind", "dev accuracy at hidden places, %", "dev rows", "seeds", "parameters"],
            ["teacher", "masked language model", "33.01", "62", "1", "22.9 M"],
            ["a student", "masked language model", "27.51", "62", "1", "10.5 M"],
        ]
    ]


def test_a_link_and_a_copy_are_no_further_seeds(runs, tmp_path):
    place = tmp_path / "some"
    place.mkdir()
    shutil.copytree(runs / "student-1", place / "student")
    (place / "latest").symlink_to(place / "student")
    (one,) = find_models([str(place), str(place / "student")])
    assert len(one.others) == 1
    shutil.copytree(runs / "student-1", place / "copy")
    assert [len(one.others) for one in find_models([str(place)])] == [1, 1]


def test_a_run_that_has_not_ended_is_told_and_left_out(runs, tmp_path, capsys):
    place = tmp_path / "some"
    shutil.copytree(runs / "teacher", place / "teacher")
    shutil.copytree(runs / "student-1", place / "student")
    (place / "student" / "metrics.json").unlink()
    assert [one.name for one in find_models([str(place)])] == ["teacher"]
    assert f"note: {place / 'student'}: this run has not ended; left out" in capsys.readouterr().out


def test_only_what_a_teacher_taught_is_its_student(runs):
    teacher, student = find_models([str(runs)])
    assert teacher_of(student, [teacher, student]) is teacher
    other = Found("t", runs / "other", None, others=[teacher])
    assert teacher_of(student, [other, student]) is teacher
    alone = Found("alone", None, None, arguments={**student.arguments, "script": "distill_lstm.small"})
    assert teacher_of(alone, [teacher]) is None


def test_own_tasks_are_told_apart_by_their_files(runs, tmp_path):
    folders = []
    for name, words in (("one", "ab"), ("two", "xyz")):
        rows = tmp_path / f"{name}.tsv"
        rows.write_text(
            "t\tl\n" + "".join(f"row {n} {words[n % len(words)]}\t{words[n % len(words)]}\n" for n in range(30))
        )
        folders.append(str(tmp_path / name))
        bert = str(runs.parent / "bert")
        finetune(
            FinetuneOptions(
                train_file=str(rows),
                text_columns="t",
                label_column="l",
                model_name_or_path=bert,
                max_steps=1,
                output_dir=folders[-1],
            )
        )
    models = find_models(folders)
    groups = groups_of(models, ReportOptions(run=tuple(folders)))
    assert [group.name for group in groups] == ["custom", "custom 2"]
    assert [group.models for group in groups] == [[one] for one in models]
    report(ReportOptions(run=tuple(folders), output_file=str(tmp_path / "r.html"), rounds=1, speed_rows=2))
    assert len([t for t in read(tmp_path / "r.html").tables if t[0][0] == "label"]) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", "{"),
        ("metrics.json", '{"dev": [1]}'),
        ("metrics.json", '{"dev": {"accuracy": "x"}}'),
        ("metrics.json", '{"dev": {"accuracy": 1}, "training": 3, "parameters": 1}'),
        ("metrics.json", '{"dev": {"accuracy": 1}, "stages": 3}'),
        ("training_args.json", "[]"),
        ("training_args.json", '{"state": 3}'),
    ],
)
def test_a_damaged_record_is_named(runs, tmp_path, name, content):
    folder = tmp_path / "student"
    shutil.copytree(runs / "student-1", folder)
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}: damaged"):
        find_models([str(folder)])


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"candidates": [{"score": 1}]}', '{"candidates": [{"score": 1, "shape": 2}]}']
)
def test_a_damaged_search_is_named(tmp_path, content):
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(InputError, match="search.json: no record of a search of ours, or damaged"):
        searches([str(tmp_path)])


def test_names_with_dollars_and_in_chinese_are_drawn_as_they_stand():
    drawn = scatter([Point("price_$5_or_$6 教师", 1, 2), Point("x$\\foo$", 2, 3)], "a$^b", "数")
    assert "price_$5_or_$6 教师" in drawn and "x$\\foo$" in drawn and "a$^b" in drawn
