"""Weights out of pickled files without running anything that they hold.

A pickle is a program that names functions and calls them. The reader here knows a handful of names, all of which it
answers with functions of its own that put numbers together: dictionaries, texts, numbers and arrays are what Paddle's
``.pdparams`` and PyTorch's ``.bin`` consist of. Any other name stops it.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

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
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                found = _read_zip(path)
            elif _is_legacy(file):
                found = _read_legacy(file)
            else:
                file.seek(0)
                found = _Reader(file, _no_storage).load()
        return _arrays(found)
    except (Refused, OSError):
        raise
    except Exception as error:  # What a forged pickle makes of the machine that reads it has no bounds.
        raise Refused(f"damaged ({type(error).__name__}: {' '.join(str(error).split())[:120]})") from error


class _Array:
    """Stands for a NumPy array while it is read; takes its state and checks it, instead of NumPy."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        *_, shape, dtype, in_columns, data = state
        self.value = _array(data, dtype, shape, bool(in_columns))


class _DType:
    """Stands for a NumPy type."""

    def __init__(self, text: str) -> None:
        self.text, self.order = text, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">", "|") else "<"

    def numpy(self) -> np.dtype:
        dtype = np.dtype(self.text)
        if dtype.kind not in KINDS or dtype.subdtype is not None:
            raise Refused(f"an array of the type {self.text!r}")
        return dtype.newbyteorder(self.order if self.order != "|" else "<")


class _Dictionary(dict):
    """Stands for ``OrderedDict``, on which PyTorch leaves notes."""

    def __setstate__(self, state: Any) -> None:
        del state


def _array(data: Any, dtype: Any, shape: Any, in_columns: bool = False) -> np.ndarray:
    if not isinstance(dtype, _DType) or not isinstance(data, (bytes, bytearray)):
        raise Refused("an array that is not made of plain numbers")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    values = np.frombuffer(bytes(data), dtype.numpy())
    return values.reshape(shape, order="F" if in_columns else "C").astype(values.dtype.newbyteorder("="))


def _dtype(text: Any, *_: Any) -> _DType:
    if not isinstance(text, str):
        raise Refused("a type that is no text")
    return _DType(text)


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, ()).item()


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding.lower().replace("-", "") not in ("latin1", "iso88591"):
        raise Refused(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _dictionary(*entries: Any) -> _Dictionary:
    return _Dictionary(*entries)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """PyTorch's tensor: a part of a storage.

    Raises:
        Refused: it reaches outside of the storage, or is larger than that.
    """
    if not isinstance(storage, np.ndarray):
        raise Refused("a tensor without its storage")
    sizes, strides = [int(side) for side in size], [int(step) for step in stride]
    count = math.prod(sizes)
    last = offset + sum((side - 1) * step for side, step in zip(sizes, strides, strict=True))
    if min([0, offset, *sizes, *strides]) < 0 or count > storage.size or (count and last >= storage.size):
        raise Refused("a tensor that reaches outside of its storage")
    if not count:
        return np.empty(sizes, storage.dtype)
    width = storage.itemsize
    part = np.lib.stride_tricks.as_strided(storage[offset:], sizes, [step * width for step in strides], writeable=False)
    return np.array(part)


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Storage:
    """The name of a storage class of PyTorch."""

    def __init__(self, name: str) -> None:
        self.dtype = STORAGES[name]


NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    **{(module, "_reconstruct"): lambda *_: _Array() for module in NUMPY},
    **{(module, "scalar"): _scalar for module in NUMPY},
    **{
        (module, "_frombuffer"): lambda data, dtype, shape, order: _array(data, dtype, shape, order == "F")
        for module in ("numpy.core.numeric", "numpy._core.numeric")
    },
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _bytes,
    **{(module, "tuple"): lambda items=(): tuple(items) for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): lambda: b"" for module in ("builtins", "__builtin__")},
    ("collections", "OrderedDict"): _dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): lambda items=(): tuple(items),
}


class _Call:
    """A function under a name. Each use has its own: a pickle may set attributes of what it names."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storage: Callable[[Any], Any]) -> None:
        super().__init__(file, encoding="latin1")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return "ndarray"  # Only ever an argument, of _reconstruct.
        if module in ("torch", "torch.storage") and name in STORAGES:
            return _Storage(name)
        if (module, name) not in KNOWN:
            raise Refused(f"a call of {module}.{name}")
        return _Call(KNOWN[module, name])

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)


def _no_storage(pid: Any) -> Any:
    raise Refused(f"a reference to something outside the file ({str(pid)[:60]})")


def _numbers(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        # The upper half of a float32.
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, dtype)


def _read_zip(path: Path) -> Any:
    """PyTorch's format since 1.6: ``data.pkl``, and a file per storage."""
    with zipfile.ZipFile(path) as archive:
        names = {name.split("/", 1)[-1]: name for name in archive.namelist()}
        if "data.pkl" not in names:
            raise Refused("an archive without data.pkl")

        def storage(pid: Any) -> np.ndarray:
            kind, cls, key, *_ = pid
            entry = names.get(f"data/{key}")
            if kind != "storage" or not isinstance(cls, _Storage) or entry is None:
                raise Refused("a storage that is not in the file")
            # Compressed storages could be a thousand times as large as the file.
            if archive.getinfo(entry).compress_type != zipfile.ZIP_STORED:
                raise Refused("a compressed storage")
            return _numbers(archive.read(entry), cls.dtype)

        with archive.open(names["data.pkl"]) as file:
            return _Reader(file, storage).load()  # type: ignore[arg-type]


def _is_legacy(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        return _Reader(file, _no_storage).load() == LEGACY_MAGIC
    except Exception:  # Whatever it is, it does not begin with the magic number.
        return False


class _Late:
    """A storage whose numbers stand behind the pickles."""

    def __init__(self, dtype: str, count: int) -> None:
        self.dtype, self.count = dtype, count


def _read_legacy(file: BinaryIO) -> Any:
    """PyTorch's format before 1.6: magic number (read already), version, machine, object, keys, storages."""
    for _ in range(2):
        _Reader(file, _no_storage).load()
    start = file.tell()
    late: dict[str, _Late] = {}

    def note(pid: Any) -> str:
        kind, cls, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(cls, _Storage):
            raise Refused("a storage of an unknown kind")
        late[str(key)] = _Late(cls.dtype, int(count))
        return str(key)

    # Once for the storages that there are; tensors are made the second time, when the numbers are known.
    _WithoutTensors(file, note).load()
    keys = _Reader(file, _no_storage).load()
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        one = late[str(key)]
        width = 2 if one.dtype == "bfloat16" else np.dtype(one.dtype).itemsize
        data = file.read(count * width) if count == one.count else b""
        if count < 0 or len(data) != count * width:
            raise Refused("a storage that is cut off")
        storages[str(key)] = _numbers(data, one.dtype)
    file.seek(start)
    return _Reader(file, lambda pid: storages[str(pid[2])]).load()


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
        if not isinstance(name, str) or not isinstance(value, np.ndarray) or value.dtype.kind not in KINDS:
            raise Refused(f"{str(name)[:60]}: no array of numbers but {type(value).__name__}")
        weights[name] = value
    return weights
