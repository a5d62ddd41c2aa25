"""What a script says: exit codes, one line an error, lengths of time, tables, progress."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import console
from console import InputError, Interrupted, ProgressBar, _plural, _rate, duration, progress, run_script, say, table

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
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run_script(seen.extend)
    # The end of a process is not to be interrupted; this one goes on.
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        assert signal.getsignal(number) == signal.SIG_IGN
        signal.signal(number, handler)
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


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: no space left on device; make room, then"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "/x: read-only file system; choose a folder that may"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: permission denied; choose a folder that may"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "n" * 400), "n…: file name too long; choose a shorter name"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), "/x: is a directory"),
        (MemoryError(), "not enough memory (an allocation failed)"),
    ],
)
def test_what_the_machine_refuses_is_2_and_one_line(capsys, error, line):
    assert run_script(raising(error), []) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert line in said
    assert len(said) < 400


ENDLESS = """
import sys, time
import console
def main(argv):
    print("ready", flush=True)
    {work}
raise SystemExit(console.run_script(main))
"""
PATIENT = "time.sleep(30)"
# Cleaning up takes a while, in which an impatient user presses Ctrl-C again and again.
SLOW_END = "\n    try:\n        time.sleep(30)\n    finally:\n        time.sleep(0.5)"
# As libraries do it to an interruption while they are imported.
TURNED = "\n    try:\n        time.sleep(30)\n    except KeyboardInterrupt:\n        raise ImportError('numpy')"


def at_work(work):
    """A script that does it."""
    return subprocess.Popen(
        [sys.executable, "-c", ENDLESS.format(work=work)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("work", [PATIENT, SLOW_END, TURNED], ids=["sleep", "slow end", "turned"])
@pytest.mark.parametrize(
    ("number", "times", "code"), [(signal.SIGINT, 1, 130), (signal.SIGINT, 5, 130), (signal.SIGTERM, 1, 143)]
)
def test_interruptions_are_a_code_and_no_traceback(work, number, times, code):
    child = at_work(work)
    assert child.stdout.readline() == "ready\n"
    for _ in range(times):
        child.send_signal(number)
        time.sleep(0.05)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    assert "Traceback" not in err
    assert err.strip().endswith("nothing half-written was left behind")


AFTER_PADDLE = "\n    import paddle\n    print('imported', flush=True)\n    time.sleep(60)"


def test_sigterm_is_heard_after_paddle_was_imported():
    """Paddle puts a handler of its own in place of ours, which ends the process where it stands."""
    child = at_work(AFTER_PADDLE)
    while child.stdout.readline().strip() != "imported":
        assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 143
    assert err.strip().endswith("terminated; nothing half-written was left behind")


def test_an_interruption_that_a_library_swallowed_can_be_given_again(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    heard = []

    def main(argv):
        for after in (0, 1, 4):
            clock[0] += after
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                heard.append(clock[0])
        signal.raise_signal(signal.SIGINT)
        clock[0] += 4
        signal.raise_signal(signal.SIGINT)

    assert run_script(main, []) == 130
    # Not that of the first second, in which what is half-written is removed.
    assert heard == [0.0, 5.0]


def test_without_paddle_there_is_one_line(capsys):
    error = ModuleNotFoundError("No module named 'paddle'", name="paddle")
    assert run_script(raising(error), []) == 2
    assert capsys.readouterr().err.startswith("error: PaddlePaddle is not installed here; install it with: python -m")
    with pytest.raises(ModuleNotFoundError):
        run_script(raising(ModuleNotFoundError("x", name="padlock")), [])


def test_the_work_goes_on_when_nobody_listens_any_more(tmp_path):
    """``| head``: what a training says is lost, what it does is not."""
    code = (
        "import console, pathlib\n"
        "def main(argv):\n"
        "    for number in range(5000):\n        console.say(f'step {number}')\n"
        f"    pathlib.Path({str(tmp_path / 'model')!r}).write_text('done')\n"
        "raise SystemExit(console.run_script(main))"
    )
    command = f'{sys.executable} -c "$CODE" | head -n 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={**os.environ, "CODE": code}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "step 0\n", "")
    assert (tmp_path / "model").read_text() == "done"


def test_characters_that_a_terminal_cannot_show_are_written_as_codes():
    code = "import console\nraise SystemExit(console.run_script(lambda argv: console.say('\\ud800 好')))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"\\ud800 \\u597d\n")


def test_slow_work_and_batches_are_told_rightly():
    assert [_rate(rate) for rate in (0.04, 0.43, 5.0, 9.96, 42.4, 1234)] == [
        "0.04", "0.43", "5", "10", "42", "1,234",
    ]  # fmt: skip
    assert [_plural(unit) for unit in ("row", "batch", "round")] == ["rows", "batches", "rounds"]
