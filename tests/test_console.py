"""What a script says: exit codes, one line an error, lengths of time, tables, progress."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import console
from console import InputError, Interrupted, ProgressBar, duration, progress, run_script, say, table

ROOT = Path(__file__).resolve().parent.parent


def raising(error: BaseException):
    def main(argv: list[str]) -> None:
        raise error

    return main


def test_success_is_0_and_main_gets_the_command_line():
    seen = []
    assert run_script(seen.extend, ["--a", "1"]) == 0
    assert seen == ["--a", "1"]


def test_without_a_command_line_main_gets_that_of_the_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prog", "--x"])
    seen = []
    run_script(seen.extend)
    assert seen == ["--x"]


def test_bad_input_is_2_and_one_line(capsys):
    assert run_script(raising(InputError("rows.tsv, line 3: no label")), []) == 2
    assert capsys.readouterr() == ("", "error: rows.tsv, line 3: no label\n")


def test_an_interruption_is_130_and_says_how_to_go_on(capsys):
    assert run_script(raising(Interrupted("saved; --resume goes on")), []) == 130
    assert capsys.readouterr().err.strip() == "saved; --resume goes on"


def test_ctrl_c_is_130_without_a_traceback(capsys):
    assert run_script(raising(KeyboardInterrupt()), []) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_script(raising(ZeroDivisionError()), [])


def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import console\n"
        "def main(argv):\n"
        "    while True: console.say('x' * 9999)\n"
        "raise SystemExit(console.run_script(main, []))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "module", ["demo", "finetune.run_classifier", "distill_lstm.small", "distill_lstm.bert_distill", "deploy.export"]
)
def test_a_script_refuses_an_unknown_option_in_one_line(run_script, module):
    done = run_script(module, "--no-such-option", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "--no_such_option" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_script_names_all_that_is_missing(run_script):
    done = run_script("deploy.export")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --model_dir is required; --output_dir is required\n"


def test_a_line_is_printed_at_once():
    code = "import console, os; console.say('ready'); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "ready\n"


def test_say_prints_one_line(capsys):
    say("été 你好")
    assert capsys.readouterr().out == "été 你好\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (187, "3:07 min"),
        (3599.4, "59:59 min"),
        (3599.6, "1:00:00 h"),
        (3729, "1:02:09 h"),
        (90061, "25:01:01 h"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_lengths_of_time_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_table_has_names_to_the_left_and_numbers_to_the_right():
    expected = "model   ms\n------  --\nbig     12\nsmall    3"
    assert table(("model ", "ms"), [("big", 12), ("small", 3)]) == expected


def test_a_table_grows_with_its_cells():
    assert table(("a", "b"), [("long name", "1,234")]) == "a              b\n---------  -----\nlong name  1,234"


def test_a_table_without_rows_is_its_header():
    assert table(("a", "bb"), []) == "a  bb\n-  --"


def test_progress_yields_all_and_draws_nothing_for_short_work(capsys):
    assert list(progress([1, 2, 3], "count")) == [1, 2, 3]
    assert list(progress(iter("ab"), "count", total=2)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


def test_progress_without_a_terminal_is_a_line_every_ten_seconds(monkeypatch, capsys):
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    bar = ProgressBar("encode", 4000)
    for _ in range(4):
        now += 5.5
        bar.advance(550)
    bar.close()
    # After 11 s and after 22 s: 100 rows a second, 4,000 - 1,100 and 4,000 - 2,200 are left.
    assert capsys.readouterr().err.splitlines() == [
        "encode: 1,100/4,000 rows, 100/s, 29 s left",
        "encode: 2,200/4,000 rows, 100/s, 18 s left",
    ]


def test_progress_after_a_resume_counts_the_rate_of_this_run(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    bar = ProgressBar("train", 1000, "step", initial=500)
    now = 20.0
    bar.advance(100)
    bar.close()
    assert capsys.readouterr().err == "train: 600/1,000 steps, 5/s, 1:20 min left\n"


def test_the_console_needs_the_standard_library_only():
    code = "import sys, console, args, process; print([m for m in ('tqdm', 'numpy', 'paddle') if m in sys.modules])"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
