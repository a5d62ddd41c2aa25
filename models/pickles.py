"""Weights out of pickled files without running anything that they hold.

A pickle is a program that names functions and calls them. The reader here knows a handful of names, all of which it
answers with functions of its own that put numbers together: dictionaries, texts, numbers and arrays are what Paddle's
``.pdparams`` and PyTorch's ``.bin`` consist of. Any other name stops it.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

# PyTorch's storage classes and how NumPy calls their numbers; bfloat16 is unknown to it and read as its bits.
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# Entries of Paddle's files that are no weights.
PADDLE_NAMES = "StructuredToParameterName@@"
KINDS = "biuf"


class Refused(Exception):
    """A pickle holds something else than weights; the message names it."""


def read_pickled(path: Path) -> dict[str, np.ndarray]:
    """The weights in a ``.pdparams`` or ``.bin`` file.

    Raises:
        Refused: the file wants to call something, holds something else than weights, or is damaged.
        OSError: it cannot be opened.
    """
    try:
        size = path.stat().st_size
        budget = _Budget(size)
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                found = _read_zip(path, size, budget)
            elif _is_legacy(file, size):
                found = _read_legacy(file, size, budget)
            else:
                file.seek(0)
                found = _Reader(file, size, budget, _no_storage).load()
        return _arrays(found)
    except (Refused, OSError):
        raise
    except Exception as error:  # What a forged pickle makes of the machine that reads it has no bounds.
        raise Refused(f"damaged ({type(error).__name__})") from error


class _Budget:
    """How many bytes a file may become: a few times its own size."""

    def __init__(self, size: int) -> None:
        self._left = 4 * size + (1 << 20)

    def take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise Refused("more numbers than the file can hold")


class _Array:
    """Stands for a NumPy array while it is read; takes its state and checks it, instead of NumPy."""

    def __init__(self, budget: _Budget) -> None:
        self.value: np.ndarray | None = None
        self._budget = budget

    def __setstate__(self, state: Any) -> None:
        *_, shape, dtype, in_columns, data = state
        self.value = _array(self._budget, data, dtype, shape, bool(in_columns))


class _DType:
    """Stands for a NumPy type."""

    def __init__(self, text: str) -> None:
        self.text, self.order = text, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">", "|") else "<"

    def numpy(self) -> np.dtype:
        dtype = np.dtype(self.text)
        if dtype.kind not in KINDS or dtype.subdtype is not None:
            raise Refused("an array of another type than numbers")
        return dtype.newbyteorder(self.order if self.order != "|" else "<")


class _Dictionary(dict):
    """Stands for ``OrderedDict``, on which PyTorch leaves notes."""

    def __setstate__(self, state: Any) -> None:
        del state


def _whole_numbers(values: Any) -> list[int]:
    """The sides of a shape.

    Raises:
        Refused: something else than a few whole numbers.
    """
    found = [values] if type(values) is int else list(values)
    if len(found) > 32 or any(type(value) is not int or abs(value) >= 1 << 62 for value in found):
        raise Refused("a shape that is none")
    return found


def _array(budget: _Budget, data: Any, dtype: Any, shape: Any, in_columns: bool = False) -> np.ndarray:
    if not isinstance(dtype, _DType) or type(data) is not bytes:
        raise Refused("an array that is not made of plain numbers")
    budget.take(len(data))
    values = np.frombuffer(data, dtype.numpy())
    sides = _whole_numbers(shape)
    return values.reshape(sides, order="F" if in_columns else "C").astype(values.dtype.newbyteorder("="))


def _dtype(_: _Budget, text: Any, *__: Any) -> _DType:
    if type(text) is not str:
        raise Refused("a type that is no text")
    return _DType(text)


def _bytes(_: _Budget, text: Any = "", encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise Refused("bytes in an encoding that nothing writes")
    return text.encode("latin1")


def _dictionary(_: _Budget, *entries: Any) -> _Dictionary:
    if entries:
        raise Refused("a dictionary made of something")
    return _Dictionary()


def _tuple(_: _Budget, items: Any = ()) -> tuple:
    if not isinstance(items, (tuple, list)):
        raise Refused("a tuple made of something else")
    return tuple(items)


@dataclass(frozen=True)
class _Numbers:
    """A storage of PyTorch: flat, and only ever out of the file."""

    values: np.ndarray


def _tensor(budget: _Budget, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """PyTorch's tensor: a part of a storage.

    Raises:
        Refused: it reaches outside of the storage, or is larger than that.
    """
    if not isinstance(storage, _Numbers) or type(offset) is not int:
        raise Refused("a tensor without its storage")
    sizes, strides, values = _whole_numbers(size), _whole_numbers(stride), storage.values
    if len(sizes) != len(strides):
        raise Refused("a tensor whose shape and steps do not fit together")
    count = math.prod(sizes)
    last = offset + sum((side - 1) * step for side, step in zip(sizes, strides, strict=True))
    if min([0, offset, *sizes, *strides]) < 0 or count > values.size or (count and last >= values.size):
        raise Refused("a tensor that reaches outside of its storage")
    budget.take(count * values.itemsize)
    if not count:
        return np.empty(sizes, values.dtype)
    width = values.itemsize
    part = np.lib.stride_tricks.as_strided(values[offset:], sizes, [step * width for step in strides], writeable=False)
    return np.array(part)


class _Storage:
    """The name of a storage class of PyTorch."""

    def __init__(self, name: str) -> None:
        self.dtype = STORAGES[name]


NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
# Every function takes the budget of the file first.
KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    **{(module, "_reconstruct"): lambda budget, *_: _Array(budget) for module in NUMPY},
    **{(module, "scalar"): lambda budget, dtype, data: _array(budget, data, dtype, ()).item() for module in NUMPY},
    **{
        (module, "_frombuffer"): lambda budget, data, dtype, shape, order: _array(
            budget, data, dtype, shape, order == "F"
        )
        for module in ("numpy.core.numeric", "numpy._core.numeric")
    },
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _bytes,
    **{(module, "tuple"): _tuple for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): lambda _: b"" for module in ("builtins", "__builtin__")},
    ("collections", "OrderedDict"): _dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda _, data, *__: data,
    ("torch", "Size"): _tuple,
}


class _Call:
    """A function under a name. Each use has its own: a pickle may set attributes of what it names."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Bounded:
    """A file that gives no more than it has: what a pickle asks for is memory before it is read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        if not 0 <= count <= self._size:
            raise Refused("it is cut off")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline()

    def readinto(self, buffer: Any) -> int:
        raise Refused("a buffer that nothing writes")


# Python's reader in Python: a hundred steps for a file of weights, and each can be looked at.
class _Reader(pickle._Unpickler):  # type: ignore[name-defined]
    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file: BinaryIO, size: int, budget: _Budget, storage: Callable[[Any], Any]) -> None:
        super().__init__(_Bounded(file, size), encoding="latin1")
        self._storage, self._budget = storage, budget

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return "ndarray"  # Only ever an argument, of _reconstruct.
        if module in ("torch", "torch.storage") and name in STORAGES:
            return _Storage(name)
        if (module, name) not in KNOWN:
            raise Refused(f"a call of {module[:80]}.{name[:80]}")
        return _Call(partial(KNOWN[module, name], self._budget))

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set(self.stack[-1], items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        made: dict[str, Any] = {}
        self._set(made, items)
        self.append(made)

    @staticmethod
    def _set(target: Any, items: list[Any]) -> None:
        # Other keys have hashes that a file can make as expensive as it likes.
        if not isinstance(target, dict) or any(type(key) is not str for key in items[::2]):
            raise Refused("no dictionary of names")
        target.update(zip(items[::2], items[1::2], strict=True))

    def load_bytearray8(self) -> None:
        """As bytes, and no larger than the file."""
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(count))

    def refuse(self) -> None:
        """Sets and buffers, which weights do not consist of."""
        raise Refused("something else than dictionaries and arrays")

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    for code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.NEXT_BUFFER):
        dispatch[code[0]] = refuse


def _no_storage(pid: Any) -> Any:
    raise Refused("a reference to something outside the file")


def _reference(pid: Any) -> tuple[_Storage, str, int]:
    """The parts of a reference to a storage: its class, its key, and how many numbers it has."""
    if type(pid) is not tuple or not 5 <= len(pid) <= 6 or pid[0] != "storage" or not isinstance(pid[1], _Storage):
        raise Refused("a reference to something outside the file")
    if type(pid[2]) is not str or type(pid[4]) is not int:
        raise Refused("a storage without a name")
    return pid[1], pid[2], pid[4]


def _numbers(data: bytes, dtype: str) -> _Numbers:
    if dtype == "bfloat16":
        # The upper half of a float32.
        return _Numbers((np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32))
    return _Numbers(np.frombuffer(data, dtype))


def _read_zip(path: Path, size: int, budget: _Budget) -> Any:
    """PyTorch's format since 1.6: ``data.pkl``, and a file per storage."""
    with zipfile.ZipFile(path) as archive:
        names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
        known: dict[str, _Numbers] = {}

        def content(name: str) -> bytes:
            if name not in names:
                raise Refused("a part that is not in the archive")
            # Compressed parts could be a thousand times as large as the file.
            info = archive.getinfo(names[name])
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                raise Refused("a compressed part")
            return archive.read(info)

        def storage(pid: Any) -> _Numbers:
            cls, key, _ = _reference(pid)
            if key not in known:
                known[key] = _numbers(content(f"data/{key}"), cls.dtype)
            return known[key]

        pickled = content("data.pkl")
        return _Reader(io.BytesIO(pickled), len(pickled), budget, storage).load()


def _is_legacy(file: BinaryIO, size: int) -> bool:
    file.seek(0)
    try:
        return _Reader(file, size, _Budget(size), _no_storage).load() == LEGACY_MAGIC
    except Exception:  # Whatever it is, it does not begin with the magic number.
        return False


def _read_legacy(file: BinaryIO, size: int, budget: _Budget) -> Any:
    """PyTorch's format before 1.6: magic number (read already), version, machine, object, keys, storages."""
    for _ in range(2):
        _Reader(file, size, budget, _no_storage).load()
    start = file.tell()
    late: dict[str, tuple[str, int]] = {}

    def note(pid: Any) -> None:
        cls, key, count = _reference(pid)
        late[key] = cls.dtype, count

    # Once for the storages that there are; tensors are made the second time, when the numbers are known.
    _WithoutTensors(file, size, budget, note).load()
    keys = _Reader(file, size, budget, _no_storage).load()
    if not isinstance(keys, list) or any(type(key) is not str for key in keys):
        raise Refused("no list of storages")
    storages = {}
    for key in keys:
        dtype, expected = late[key]
        (count,) = struct.unpack("<q", file.read(8))
        width = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        if count != expected or not 0 <= count * width <= size:
            raise Refused("a storage that is cut off")
        data = file.read(count * width)
        if len(data) != count * width:
            raise Refused("a storage that is cut off")
        storages[key] = _numbers(data, dtype)
    file.seek(start)
    return _Reader(file, size, budget, lambda pid: storages[_reference(pid)[1]]).load()


class _WithoutTensors(_Reader):
    """Reads an object for its storages only."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return _Call(lambda *_: None) if module == "torch._utils" else found


def _arrays(found: Any) -> dict[str, np.ndarray]:
    """The weights of what was read.

    Raises:
        Refused: it is no dictionary of arrays.
    """
    if not isinstance(found, Mapping):
        raise Refused("something that is no dictionary of weights")
    weights = {}
    for name, value in found.items():
        if name == PADDLE_NAMES:
            continue
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            value = value[1]  # Paddle's tensors: their name in the process that saved them, and the numbers.
        if isinstance(value, _Array):
            value = value.value
        if type(name) is not str or not isinstance(value, np.ndarray) or value.dtype.kind not in KINDS:
            raise Refused(f"something that is no array of numbers but {type(value).__name__}")
        weights[name] = value
    return weights
