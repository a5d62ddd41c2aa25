"""Files and folders that are whole or absent, what killed processes leave, and locks."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny

from console import InputError
from files import (
    PARTIAL,
    Busy,
    FolderLock,
    alone_in,
    check_new_file,
    check_new_folder,
    clear_leftovers,
    is_plain_name,
    new_file,
    new_folder,
    read_json,
    scratch_folder,
    write_atomically,
    write_json,
)


def in_child(code, *words, wait=True):
    """Runs code in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=tiny.ROOT,
        env=tiny.environment(),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    if wait:
        child.communicate(timeout=60)
    return child


WRITE_AND_DIE = """
import os, signal, sys
from files import new_file, new_folder
if sys.argv[2] == "file":
    with new_file(sys.argv[1]) as file:
        file.write("half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
else:
    with new_folder(sys.argv[1]) as folder:
        (folder / "half").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path, kind):
    target = tmp_path / "out"
    assert in_child(WRITE_AND_DIE, target, kind).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert PARTIAL.fullmatch(left.name)
    if kind == "file":
        write_atomically(target, "whole")
    else:
        with new_folder(target) as folder:
            (folder / "whole").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_living_process_writes_stays(tmp_path):
    with new_file(tmp_path / "out") as file:
        file.write("first")
        (left,) = tmp_path.iterdir()
        # Another one, of the same process here, writes the same name meanwhile.
        write_atomically(tmp_path / "out", "second")
        assert left.exists()
    assert (tmp_path / "out").read_text() == "first"


def test_foreign_hidden_files_are_no_leftovers(tmp_path):
    for name in (".out-settings", ".out-abcdefgh", ".other-01234567.partial"):
        (tmp_path / name).write_text("mine")
    clear_leftovers(tmp_path / "out")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o077, 0o600, 0o700), (0o022, 0o644, 0o755), (0, 0o666, 0o777)])
def test_permissions_are_those_of_the_umask(tmp_path, umask, file, folder):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", "x")
        with new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == file
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == folder


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_atomically(tmp_path / "pipe", "through")
    reader.join(10)
    assert got == ["through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_device_stays_a_device():
    write_atomically("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "new"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_folder_stays_a_link(tmp_path, there):
    if there:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "old").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_new_folder(tmp_path / "link", "--output_dir")
    with new_folder(tmp_path / "link") as folder:
        (folder / "new").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


def test_a_name_as_long_as_names_may_be_is_written(tmp_path):
    name = "n" * 255
    write_atomically(tmp_path / name, "x")
    with new_folder(tmp_path / ("f" * 255)):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {name, "f" * 255}


@pytest.mark.parametrize(
    ("check", "name", "message"),
    [
        (check_new_file, "", "--out: expected the name of a file, got an empty one"),
        (check_new_file, "folder", "this is a folder, expected the name of a file"),
        (check_new_file, "file/inner", "file is a file, expected a folder"),
        (check_new_file, "n" * 256, "--out: this name is too long for a file system: "),
        (check_new_file, "a\0b", "--out: a name cannot hold a NUL character"),
        (check_new_folder, "file", "file is a file, expected a folder"),
        (check_new_folder, "n" * 256, "--out: this name is too long"),
        (check_new_folder, "a\0b", "--out: a name cannot hold a NUL character"),
        (check_new_folder, "circle", "symbolic links that go round in a circle"),
        (check_new_folder, "/proc", "this is a mount point; name a folder below it"),
    ],
)
def test_what_cannot_be_written_is_told_before(tmp_path, check, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError) as caught:
        check(name if name in ("", "/proc") else f"{tmp_path}/{name}", "--out")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "", "a\0", "a\\b", 3, None])
def test_names_that_leave_their_folder_are_not_plain(name):
    assert not is_plain_name(name)
    assert is_plain_name("values.bin")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"x"', "{", "", "\ud800", "[" * 100_000])
def test_json_that_is_no_object_is_a_value_error(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError):
        read_json(tmp_path / "x.json")


def test_json_knows_no_number_that_is_not_finite(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"score": float("nan")})
    assert not list(tmp_path.iterdir())


HOLD = """
import sys
from files import FolderLock
lock = FolderLock(sys.argv[1], "--output_dir x")
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
"""


def test_a_lock_names_the_process_that_has_it_and_ends_with_it(tmp_path):
    child = in_child(HOLD, tmp_path / "run", wait=False)
    assert child.stdout.readline() == "held\n"
    mine = FolderLock(tmp_path / "run", "--output_dir x")
    for ask in (mine.check, mine.acquire):
        with pytest.raises(Busy, match=rf"--output_dir x: process {child.pid} on \S+ works there"):
            ask()
    child.kill()
    child.communicate()
    mine.check()
    mine.acquire()
    assert f"process {os.getpid()}" in (tmp_path / "run" / ".lock").read_text()
    mine.release()
    assert not (tmp_path / "run" / ".lock").exists()


def test_who_comes_second_waits_for_the_first(tmp_path, capsys):
    child = in_child(HOLD, tmp_path / "parts", wait=False)
    assert child.stdout.readline() == "held\n"
    threading.Timer(0.3, lambda: child.communicate("\n")).start()
    with alone_in(tmp_path / "parts", "teacher outputs"):
        assert child.wait(10) == 0
    assert f"process {child.pid}" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_scratch_folder_is_gone_afterwards(tmp_path):
    with scratch_folder(tmp_path, "graph") as folder:
        (folder / "x").write_text("x")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_checks_change_nothing(tmp_path):
    check_new_folder(tmp_path / "a" / "b", "--output_dir")
    check_new_file(tmp_path / "a" / "b.tsv", "--output_file")
    FolderLock(Path(tmp_path / "a"), "x").check()
    assert not list(tmp_path.iterdir())


RACE = """
import sys, time
from pathlib import Path
from files import alone_in, clear_inside
folder, inside = Path(sys.argv[1]), Path(sys.argv[2])
entered = 0
end = time.monotonic() + 2.0
while time.monotonic() < end:
    with alone_in(folder, "race"):
        mark = inside / "mark"
        mark.mkdir()  # Fails when somebody else is here too.
        (folder / "part").write_text("x")
        clear_inside(folder)
        mark.rmdir()
        entered += 1
print("entered", entered)
"""


def test_many_processes_are_alone_one_after_the_other(tmp_path):
    children = [in_child(RACE, tmp_path / "parts", tmp_path, wait=False) for _ in range(3)]
    said = [child.communicate(timeout=120)[0].splitlines()[-1].split() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert all(word == "entered" and int(count) > 0 for word, count in said)
    assert not list(tmp_path.iterdir())


DIE_BETWEEN = """
import os, signal, sys
from files import new_folder
rename, count = os.rename, []
def counted(*names):
    count.append(1)
    # The name is taken, what has it goes aside, and then.
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*names)
os.rename = counted
with new_folder(sys.argv[1]) as folder:
    (folder / "new").write_text("x")
"""


@pytest.mark.parametrize("name", ["out", "n" * 197, "n" * 255, "new\nline"])
def test_the_only_copy_of_a_folder_survives_a_kill(tmp_path, name):
    target = tmp_path / name
    with new_folder(target) as folder:
        (folder / "old").write_text("x")
    assert in_child(DIE_BETWEEN, target).returncode == -signal.SIGKILL
    assert not target.exists()
    with pytest.raises(ZeroDivisionError), new_folder(target) as folder:
        _ = 1 / 0
    assert (target / "old").is_file()
    with new_folder(target) as folder:
        (folder / "newer").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in target.iterdir()] == ["newer"]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_lock_is_a_file_of_ours_or_none(tmp_path, kind):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    if kind == "link":
        (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    else:
        os.mkfifo(tmp_path / "run" / ".lock")
    lock = FolderLock(tmp_path / "run", "--output_dir x")
    lock.check()
    with pytest.raises(InputError, match=r"\.lock cannot be a lock"):
        lock.acquire()
    assert (tmp_path / "precious").read_text() == "mine"


def test_json_is_not_waited_for_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match="expected a regular file"):
        read_json(tmp_path / "config.json")


def test_files_in_shared_memory_are_replaced_in_one_step():
    path = Path("/dev/shm") / f"paddledistill-test-{os.getpid()}"
    if not path.parent.is_dir():
        pytest.skip("no /dev/shm here")
    try:
        write_atomically(path, "old")
        with pytest.raises(ZeroDivisionError), new_file(path) as file:
            file.write("half")
            _ = 1 / 0
        assert path.read_text() == "old"
    finally:
        path.unlink(missing_ok=True)


def test_the_empty_folder_of_a_killed_replacement_goes_away(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / ".out-old-0123abcd.partial").mkdir()
    # The only copy of another folder, whose long name begins alike.
    (kept := tmp_path / ".out-old-76543210.partial" / "other").mkdir(parents=True)
    with new_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.parent.name, "out"]


def test_what_came_into_being_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "out"
    with new_folder(target, replace=False) as folder:
        (folder / "a").write_text("first")
        # An empty folder is nobody's.
        target.mkdir()
    assert (target / "a").read_text() == "first"
    with (
        pytest.raises(InputError, match="another command has written here meanwhile"),
        new_folder(target, replace=False) as folder,
    ):
        (folder / "a").write_text("second")
    assert (target / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


HAMMER = """
import sys
from files import new_folder
for number in range(150):
    with new_folder(sys.argv[1]) as folder:
        (folder / "whole").write_text("x")
"""


def test_several_processes_may_replace_a_folder_at_once(tmp_path):
    children = [in_child(HAMMER, tmp_path / "out", wait=False) for _ in range(3)]
    for child in children:
        child.communicate(timeout=60)
    assert [child.returncode for child in children] == [0, 0, 0]
    with new_folder(tmp_path / "out") as folder:
        (folder / "last").write_text("x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["last"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
