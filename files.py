"""Files and folders that are there whole or not at all, locks, and what killed processes left. Standard library only.

Everything is written under a temporary name, ``.NAME-xxxxxxxx.partial``, and renamed when it is on the disk. Whoever
writes holds a lock on it: what has such a name and no lock was left by a process that is gone, and is removed by the
next one that writes to the same name. Permissions are those that the umask gives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from console import InputError, say

CHUNK = 1 << 22
PARTIAL = re.compile(r"\.(?P<name>.*)-[0-9a-f]{8}\.partial", re.DOTALL)
# What follows the name where something older waits to be replaced.
ASIDE = "-old"
# Of longer names the temporary one begins with a part only: names end at 255 bytes.
LONGEST_NAME = 200
# Why a folder cannot take a name.
OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
LOCK = ".lock"
# Neither through a link nor into a pipe that nobody reads.
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK
# Names of open files: what they name is not to be replaced, even where it is a regular file.
OPEN_FILES = ("/dev/std", "/dev/fd/", "/proc/")


class Busy(InputError):
    """Another process works on what this one wants to write.

    Attributes:
        owner: which one.
    """

    def __init__(self, what: str, owner: str) -> None:
        super().__init__(f"{what}: {owner} works there; wait for its end or choose another folder")
        self.owner = owner


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder for what later runs can use again: ``given``, or ``paddledistill`` in the user's cache folder.

    Raises:
        InputError: ``given`` is something else than a folder.
    """
    if given:
        if Path(given).exists() and not Path(given).is_dir():
            raise InputError(f"--cache_dir {given}: expected a folder")
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "paddledistill"


def file_checksum(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def is_plain_name(name: Any) -> bool:
    """Whether a name that stands in a file may be opened: one inside its own folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}


def size_in_bytes(text: str) -> int:
    """Reads a size on the disk: ``20GB``, ``500 MB``, ``0``.

    Raises:
        ValueError: no such size.
    """
    units = {"": 1.0, "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    number = text.strip().upper().rstrip("BKMGT")
    unit = text.strip().upper().removeprefix(number)
    try:
        value = float(number) * units[unit.strip()]
    except (ValueError, KeyError):
        value = -1.0
    if not 0 <= value < 1e18:
        raise ValueError("expected a size such as 20GB, 500MB or 0")
    return int(value)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else; the message says what.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("expected a regular file")
        with open(path, "rb") as file:
            value = json.loads(file.read().decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> None:
    """Writes an object as JSON, in one step.

    Raises:
        ValueError: a number in it is not finite, which JSON does not know.
    """
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file under a temporary name, then renames it: a reader finds the old one or the new one."""
    with new_file(path) as file:
        # Below the text layer, so that bytes and line ends stay as they are.
        file.buffer.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A UTF-8 file under a temporary name that takes the name ``path`` when the block ends without an exception.

    Of a symbolic link, what it points to is written. What is no regular file (a device, a pipe) is written to directly.
    """
    if is_written_through(path):
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            yield file
        return
    path = real_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    handle, temporary = _create(path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def is_written_through(path: str | os.PathLike[str]) -> bool:
    """Whether a path is no regular file, so that a rename would put one in its place."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or os.path.abspath(path).startswith(OPEN_FILES)


def real_place(path: str | os.PathLike[str]) -> Path:
    """Where something of this name really is to be written: behind a symbolic link, what the link names."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str], replace: bool = True) -> Iterator[Path]:
    """A folder under a temporary name that takes the name ``folder`` when the block ends without an exception.

    Args:
        folder: the name.
        replace: see :func:`publish_folder`.
    """
    with pending_folder(folder) as temporary:
        yield temporary
        publish_folder(temporary, folder, replace)


@contextlib.contextmanager
def pending_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder under a temporary name beside ``folder``, removed at the end unless it was published."""
    folder = real_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(folder)
    clear_leftovers(folder)
    handle, temporary = _create(folder, is_folder=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def publish_folder(temporary: Path, folder: str | os.PathLike[str], replace: bool = True) -> None:
    """Gives a finished folder its real name; an older one of that name goes away afterwards.

    Args:
        temporary: the folder.
        folder: its real name.
        replace: whether there may be an older one, which has something in it.

    Raises:
        InputError: there is one, and there may not be.
    """
    folder = real_place(folder)
    try:
        os.rename(temporary, folder)
        return
    except OSError as error:
        if error.errno not in OCCUPIED:
            raise
    if not replace:
        raise InputError(f"{folder}: another command has written here meanwhile; choose another folder")
    handle, aside = _create(folder, ASIDE, is_folder=True)
    try:
        # Another process may have moved it just now, or put another one in its place before we do.
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, aside / folder.name)
        publish_folder(temporary, folder)
        shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        recover_folder(folder, aside)
        raise
    finally:
        os.close(handle)


def recover_folder(folder: str | os.PathLike[str], own: Path | None = None) -> None:
    """Gives a folder its name back that a killed :func:`publish_folder` had moved aside and not replaced.

    What a living process has moved aside, and is about to replace, stays where it is.

    Args:
        folder: its name.
        own: where this process has moved it.
    """
    folder = real_place(folder)
    if folder.exists():
        return
    name = _escaped(_short(folder.name))
    for aside in sorted(folder.parent.glob(f".{name}{ASIDE}-*")):
        if not (aside / folder.name).exists():
            continue
        # Another process may be quicker with it.
        with contextlib.suppress(FileNotFoundError), _left(aside) as is_left:
            if aside != own and is_left is False:
                continue
            try:
                os.rename(aside / folder.name, folder)
            except OSError as error:
                # Something newer has the name by now.
                if error.errno not in OCCUPIED:
                    raise
            shutil.rmtree(aside, ignore_errors=True)
            return


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder for as long as the block lasts; those that killed processes left under the same name go first."""
    with pending_folder(parent / name) as folder:
        yield folder


def _short(name: str) -> str:
    """The part of a name that temporary ones begin with."""
    return name if len(os.fsencode(name)) <= LONGEST_NAME else name[:40]


def _create(path: Path, mark: str = "", is_folder: bool = False) -> tuple[int, Path]:
    """A new, locked file or folder under a temporary name beside ``path``: its handle and its name."""
    name = _short(path.name) + mark
    while True:
        temporary = path.with_name(f".{name}-{secrets.token_hex(4)}.partial")
        try:
            if is_folder:
                os.mkdir(temporary)
            else:
                handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        # A process that cleared leftovers between two steps has taken it for one.
        if is_folder:
            try:
                handle = os.open(temporary, os.O_RDONLY)
            except FileNotFoundError:
                continue
        _lock(handle)
        if temporary.exists():
            return handle, temporary
        os.close(handle)


def _lock(handle: int, wait: bool = True) -> bool | None:
    """Takes the lock on an open file, which goes with the process.

    Returns:
        False when another process has it, None on a file system without locks, where nothing is known of others.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return None
    return True


def clear_leftovers(path: Path) -> None:
    """Removes what killed processes left while they wrote ``path``; what a living one writes stays."""
    with contextlib.suppress(OSError):
        for found in path.parent.iterdir():
            match = PARTIAL.fullmatch(found.name)
            if match is None or match["name"] not in (_short(path.name), _short(path.name) + ASIDE):
                continue
            # The only copy of what a killed process was about to replace is no leftover, nor one of another long name;
            # an empty one is nobody's copy.
            is_aside = match["name"].endswith(ASIDE) and any(found.iterdir())
            if is_aside and (not path.exists() or not (found / path.name).exists()):
                continue
            _remove_if_left(found)


def clear_folder(folder: Path) -> None:
    """The same for everything within a folder."""
    for root, folders, files in os.walk(folder):
        for name in [name for name in (*folders, *files) if PARTIAL.fullmatch(name)]:
            _remove_if_left(Path(root, name))
        folders[:] = [name for name in folders if not PARTIAL.fullmatch(name)]


def _remove_if_left(path: Path) -> None:
    with contextlib.suppress(OSError), _left(path) as is_left:
        if is_left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _left(path: Path) -> Iterator[bool | None]:
    """Locks what has a temporary name while the block lasts; gives what :func:`_lock` says, True when nobody had it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield _lock(handle, wait=False)
    finally:
        os.close(handle)


def _is_no_folder(path: Path) -> bool:
    """Whether something else than a folder is there; asked once, for it may go at any moment."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        return path.is_symlink()


# More than anybody makes and removes a folder in a row.
LOCK_TURNS = 1000


class FolderLock:
    """A folder that one process at a time works in.

    The lock is a file ``.lock`` within, which says whose it is. It ends with its process, however that ends.

    Args:
        folder: exists or will be made.
        what: names it in errors, such as ``--output_dir outputs/teacher``.
    """

    def __init__(self, folder: str | os.PathLike[str], what: str) -> None:
        self.path, self._what = Path(folder) / LOCK, what
        self._handle: int | None = None

    def check(self) -> None:
        """Raises :class:`Busy` when another process has the lock; leaves everything as it is."""
        if self._handle is not None:
            return
        try:
            handle = os.open(self.path, os.O_RDONLY | SAFELY)
        except OSError:
            return
        try:
            if _lock(handle, wait=False) is False:
                raise self._busy(handle)
        finally:
            os.close(handle)

    def acquire(self, wait: bool = False) -> None:
        """Takes the lock; makes the folder where there is none.

        Args:
            wait: until the other process has ended, instead of refusing.

        Raises:
            Busy: another process has it.
        """
        turns = 0
        while self._handle is None:
            turns += 1
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_RDWR | os.O_CREAT | SAFELY, 0o666)
            except (FileNotFoundError, FileExistsError):
                # Its last owner removed the folder meanwhile; what is no folder stays in the way.
                if _is_no_folder(self.path.parent):
                    raise
                if turns > LOCK_TURNS:
                    # A file system that takes no folders, such as /proc.
                    raise InputError(f"{self._what}: {self.path.parent} cannot be made") from None
                continue
            except OSError as error:
                raise InputError(f"{self._what}: {self.path} cannot be a lock ({error.strerror})") from None
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise InputError(f"{self._what}: {self.path} cannot be a lock (no regular file)")
            if _lock(handle, wait) is False:
                error = self._busy(handle)
                os.close(handle)
                raise error
            if not self._is_named(handle):  # Its last owner removed it meanwhile.
                os.close(handle)
                continue
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {os.uname().nodename}".encode())
            self._handle = handle

    def release(self) -> None:
        """Gives the lock back and removes its file."""
        if self._handle is not None:
            if self._is_named(self._handle):
                self.path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def _is_named(self, handle: int) -> bool:
        """Whether the lock's name still means this file."""
        try:
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(handle))
        except FileNotFoundError:
            return False

    def _busy(self, handle: int) -> Busy:
        owner = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
        return Busy(self._what, owner)


@contextlib.contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Works in a folder while nobody else does; waits for the end of another process that was there first."""
    lock = FolderLock(folder, what)
    try:
        lock.acquire()
    except Busy as busy:
        say(f"{busy.owner} makes the same {what}: waiting for it")
        lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()


def clear_abandoned(folder: Path) -> None:
    """Removes a folder that a killed process worked in alone; that of a living one stays."""
    if not folder.is_dir():
        return
    lock = FolderLock(folder, str(folder))
    with contextlib.suppress(Busy):
        lock.acquire()
        clear_inside(folder)
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()


def clear_inside(folder: Path) -> None:
    """Removes what is in a folder, but for the lock on it."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink(missing_ok=True)


def check_new_folder(folder: str | os.PathLike[str], option: str) -> None:
    """Refuses a folder that could not be made, before hours are spent on what it is to hold.

    Args:
        folder: the folder.
        option: names it in errors.

    Raises:
        InputError: its name cannot be one; it, or the nearest folder above it that exists, is a file or may not be
            written to; or it is a mount point, which cannot be renamed.
    """
    place = _nearest(folder, option)
    if not place.is_dir():
        raise InputError(f"{option} {folder}: {place} is a file, expected a folder")
    if not os.access(place, os.W_OK | os.X_OK) or not _is_writable(place):
        raise InputError(f"{option} {folder}: no right to write in {place}")
    if os.path.ismount(place) and place == real_place(folder).absolute():
        raise InputError(f"{option} {folder}: this is a mount point; name a folder below it")
    above = real_place(folder).absolute().parent
    if place == real_place(folder).absolute() and not (os.access(above, os.W_OK) and _is_writable(above)):
        raise InputError(f"{option} {folder}: no right to write in {above}")


def check_new_file(path: str | os.PathLike[str], option: str) -> None:
    """Refuses a file that could not be written, before there is work to lose.

    Args:
        path: the file.
        option: names it in errors.

    Raises:
        InputError: its name cannot be one, it is a folder, or there is no right to write it.
    """
    if not str(path).strip():
        raise InputError(f"{option}: expected the name of a file, got an empty one")
    place = _nearest(path, option)
    if is_written_through(path):
        if not os.access(path, os.W_OK):
            raise InputError(f"{option} {path}: no right to write to it")
        return
    if place.is_dir() and place == real_place(path).absolute():
        raise InputError(f"{option} {path}: this is a folder, expected the name of a file")
    above = place if place.is_dir() else place.parent
    if place.exists() and not place.is_dir() and place != real_place(path).absolute():
        raise InputError(f"{option} {path}: {place} is a file, expected a folder")
    if not os.access(above, os.W_OK | os.X_OK) or not _is_writable(above):
        raise InputError(f"{option} {path}: no right to write in {above}")


def _nearest(path: str | os.PathLike[str], option: str) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    place = real_place(path).absolute()
    try:
        os.stat(path)
    except ValueError:
        raise InputError(f"{option}: a name cannot hold a NUL character") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{option}: this name is too long for a file system: {str(path)[:60]}…") from None
        if error.errno == errno.ELOOP:
            raise InputError(f"{option} {path}: symbolic links that go round in a circle") from None
    while not os.path.lexists(place):
        place = place.parent
    return place


def _is_writable(folder: Path) -> bool:
    """What rights do not say: a file system may be mounted for reading only."""
    try:
        return not os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError:
        return True
