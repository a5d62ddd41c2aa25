"""Pickled weights are read as the numbers they are; whatever else a pickle holds is refused and not run."""

from __future__ import annotations

import collections
import io
import pickle
import resource
import struct
import subprocess
import time
import zipfile

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from models.pickles import LEGACY_MAGIC, Refused, read_pickled

WEIGHTS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.array([1.5, -2.0], np.float64),
    "c": np.array(7, np.int64),
    "d": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
    "empty": np.empty((0, 3), np.float32),
}


def same(found, expected=WEIGHTS):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert found[name].dtype == value.dtype


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_dictionaries_of_arrays_of_every_protocol(tmp_path, protocol):
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(WEIGHTS, protocol=protocol))
    same(read_pickled(tmp_path / "w.pdparams"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_paddle_saves(tmp_path, protocol):
    model = tiny.bert().model
    paddle.save(model.state_dict(), str(tmp_path / "w.pdparams"), protocol=protocol)
    same(read_pickled(tmp_path / "w.pdparams"), {k: v.numpy() for k, v in model.state_dict().items()})


class _Storage:
    """Pickles as a reference to a storage of PyTorch does."""

    def __init__(self, key, count):
        self.key, self.count = key, count


def torch_pickle(build):
    """A pickle of PyTorch's names, written by hand: PyTorch is not installed here."""

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            if isinstance(value, _Storage):
                return ("storage", Named("torch", "FloatStorage"), value.key, "cpu", value.count)
            return None

        def save(self, value, save_persistent_id=True):
            if isinstance(value, Named):
                self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
                return None
            return super().save(value, save_persistent_id)

    out = io.BytesIO()
    Pickler(out, protocol=2).dump(build)
    return out.getvalue()


class Named:
    def __init__(self, module, name):
        self.module, self.name = module, name


class Tensor:
    def __init__(self, key, count, offset, size, stride):
        self.arguments = (_Storage(key, count), offset, size, stride, False, collections.OrderedDict())

    def __reduce__(self):
        return _rebuild, self.arguments


def _rebuild(*_):
    raise AssertionError("never called: it stands for torch._utils._rebuild_tensor_v2")


def tensors(*parts):
    """The pickle of a state dictionary of tensors (name, key, count, offset, size, stride)."""
    content = torch_pickle({name: Tensor(*rest) for name, *rest in parts})
    module = __name__.encode()
    return content.replace(b"c" + module + b"\n_rebuild\n", b"ctorch._utils\n_rebuild_tensor_v2\n")


VALUES = np.arange(10, dtype="<f4")
PARTS = (("w", "0", 10, 0, (2, 3), (3, 1)), ("turned", "0", 10, 4, (3, 2), (1, 3)))


def archive(path, content, values=VALUES, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", values.tobytes())


def test_pytorch_archives(tmp_path):
    archive(tmp_path / "w.bin", tensors(*PARTS))
    found = read_pickled(tmp_path / "w.bin")
    np.testing.assert_array_equal(found["w"], [[0, 1, 2], [3, 4, 5]])
    # From 4 on, one step to the next row, three to the next column.
    np.testing.assert_array_equal(found["turned"], [[4, 7], [5, 8], [6, 9]])


def test_pytorch_files_of_before_archives(tmp_path):
    with open(tmp_path / "w.bin", "wb") as file:
        for value in (LEGACY_MAGIC, 1001, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        # A view's metadata stands at the end of the reference here.
        content = tensors(*PARTS)
        file.write(content)
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", 10) + VALUES.tobytes())
    found = read_pickled(tmp_path / "w.bin")
    np.testing.assert_array_equal(found["w"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["turned"], [[4, 7], [5, 8], [6, 9]])


@pytest.mark.parametrize(
    "part",
    [
        ("w", "0", 10, 8, (2, 3), (3, 1)),
        ("w", "0", 10, -1, (2,), (1,)),
        ("w", "0", 10, 0, (2, 3), (-3, 1)),
        ("w", "0", 10, 0, (10**6, 10**6), (0, 0)),
        ("w", "0", 10, 0, (2,), (10**18,)),
        ("w", "1", 10, 0, (2,), (1,)),
        ("w", "../data", 10, 0, (2,), (1,)),
    ],
)
def test_tensors_outside_of_their_storage_are_refused(tmp_path, part):
    archive(tmp_path / "w.bin", tensors(part))
    with pytest.raises(Refused):
        read_pickled(tmp_path / "w.bin")


def test_compressed_storages_are_refused(tmp_path):
    archive(tmp_path / "w.bin", tensors(*PARTS), np.zeros(10**6, "<f4"), zipfile.ZIP_DEFLATED)
    with pytest.raises(Refused, match="a compressed part"):
        read_pickled(tmp_path / "w.bin")


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (open, ("RAN", "w"), "open"),
        (subprocess.check_call, (["touch", "RAN"],), "check_call"),
        (eval, ("open('RAN', 'w')",), "eval"),
        (getattr, ("x", "upper"), "getattr"),
        (np.load, ("x.npy",), "load"),
        (bytearray, (10**12,), "bytearray"),
        (np.zeros, (10**12,), "zeros"),
    ],
)
def test_calls_are_named_and_not_made(tmp_path, monkeypatch, protocol, function, arguments, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps({"w": Call(function, *arguments)}, protocol=protocol))
    with pytest.raises(Refused, match=rf"a call of .*{named}"):
        read_pickled(tmp_path / "w.pdparams")
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "value",
    [
        {"w": np.array([1, "x", None], object)},
        {"w": np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])},
        {"w": np.array(["text"])},
        {"w": np.array(["2020-01-01"], "M8[D]")},
        {"w": "text"},
        {"w": {"inner": np.zeros(2)}},
        {3: np.zeros(2)},
        [np.zeros(2)],
        None,
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, value):
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(value))
    with pytest.raises(Refused):
        read_pickled(tmp_path / "w.pdparams")


@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_a_mutated_pickle_gives_numbers_or_is_refused(tmp_path_factory, place, value, cut):
    content = bytearray(pickle.dumps({name: WEIGHTS[name] for name in ("a.weight", "c")}, protocol=2))
    if cut:
        content = content[: place % len(content)]
    else:
        content[place % len(content)] = value
    path = tmp_path_factory.mktemp("mutated") / "w.pdparams"
    path.write_bytes(bytes(content))
    try:
        found = read_pickled(path)
    except Refused as refusal:
        assert str(refusal)
    else:
        assert all(array.dtype.kind in "biuf" for array in found.values())


def opcodes(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


GLOBAL = b"cnumpy._core.numeric\n_frombuffer\n"
DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00i1tR"
BUFFER = GLOBAL + b"(C\x08" + b"x" * 8 + DTYPE + b"(K\x02K\x04tX\x01\x00\x00\x00CtR"
TENSOR = b"ctorch._utils\n_rebuild_tensor\n("


@pytest.mark.parametrize(
    "content",
    [
        # A tensor over an array that is no storage: its rows would be counted as numbers.
        opcodes(b"}X\x01\x00\x00\x00w", TENSOR, BUFFER, b"K\x01", b"K\x07\x85", b"K\x01\x85", b"tRs"),
        # A name that is a million tuples within each other.
        opcodes(b"})", b"\x85" * 1_000_000, b"K\x01s"),
        # A name of 2**60 parts.
        opcodes(b"})", b"2\x86" * 60, b"K\x01s"),
        # The same as a reference to something outside.
        opcodes(b"})", b"2\x86" * 60, b"Q"),
        # A set, whose members are hashed.
        opcodes(b"\x8f(", b")", b"2\x86" * 60, b"\x90"),
        # More bytes than the file has.
        opcodes(b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00"),
        opcodes(b"\x96\xff\xff\xff\xff\xff\x00\x00\x00"),
        opcodes(b"\x95\xff\xff\xff\xff\xff\x00\x00\x00"),
    ],
)
def test_bombs_are_refused_at_once(tmp_path, content):
    (tmp_path / "w.pdparams").write_bytes(content)
    began = time.process_time()
    with pytest.raises(Refused):
        read_pickled(tmp_path / "w.pdparams")
    assert time.process_time() - began < 20


def test_a_place_in_the_memo_costs_no_memory(tmp_path):
    """Paddle's own reader in C takes eight bytes for each place up to the largest that is named."""
    (tmp_path / "w.pdparams").write_bytes(opcodes(b"}r\xff\xff\xff\x7f"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_pickled(tmp_path / "w.pdparams") == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_one_storage_cannot_become_many_copies(tmp_path):
    parts = [(f"w{number}", "0", 100_000, 0, (100_000,), (1,)) for number in range(60)]
    archive(tmp_path / "w.bin", tensors(*parts[:3]), np.zeros(100_000, "<f4"))
    assert len(read_pickled(tmp_path / "w.bin")) == 3
    archive(tmp_path / "w.bin", tensors(*parts), np.zeros(100_000, "<f4"))
    with pytest.raises(Refused, match="more numbers than the file can hold"):
        read_pickled(tmp_path / "w.bin")


def test_a_compressed_pickle_is_refused(tmp_path):
    archive(tmp_path / "w.bin", b"\x80\x02" + b"N0" * 10_000_000 + b"N.", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(Refused, match="a compressed part"):
        read_pickled(tmp_path / "w.bin")
