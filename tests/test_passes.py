"""Long passes in parts: what is there stays, what is damaged is made again, one process at a time."""

import threading

import numpy as np
import pytest

from data.passes import in_parts, stored_or_made
from data.store import Store, StoreDamaged, StoreWriter

BLOCKS = [np.array([4, 2]), np.array([1]), np.array([0, 3, 5])]


def write(path, rows):
    with StoreWriter(path) as writer:
        writer.append(row=np.asarray(rows))


def read(path, rows):
    if not np.array_equal(np.asarray(Store(path)["row"]), rows):
        raise StoreDamaged("other rows")


def test_parts_are_made_in_order_and_found_again(tmp_path):
    made = []

    def make(path, rows):
        made.append(rows.tolist())
        write(path, rows)

    paths = in_parts(tmp_path, "rows", BLOCKS, 6, read, make)
    assert made == [[4, 2], [1], [0, 3, 5]]
    assert [path.name for path in paths] == ["part-00000", "part-00001", "part-00002"]
    assert in_parts(tmp_path, "rows", BLOCKS, 6, read, make) == paths
    assert len(made) == 3


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_a_part_that_is_not_what_is_wanted_is_made_again_alone(tmp_path, damage):
    in_parts(tmp_path, "rows", BLOCKS, 6, read, write)
    second = tmp_path / "part-00001"
    if damage == "cut":
        (second / "row.bin").write_bytes(b"")
    elif damage == "other":
        write(second, [2])
    else:
        second.rename(tmp_path / "elsewhere")
    made = []
    in_parts(tmp_path, "rows", BLOCKS, 6, read, lambda path, rows: (made.append(rows.tolist()), write(path, rows)))
    assert made == [[1]]
    read(second, BLOCKS[1])


def numbers(folder):
    def found():
        return np.asarray(Store(folder)["row"]).tolist()

    return found


def test_what_is_stored_is_not_made(tmp_path):
    folder, calls = tmp_path / "store", []

    def make(parts):
        calls.append(parts)
        assert parts.is_dir()
        (parts / "left").write_text("of a part")
        write(folder, [1, 2])

    for _ in range(2):
        assert stored_or_made(folder, "numbers", numbers(folder), make) == [1, 2]
    assert calls == [tmp_path / "store.parts"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_damage_is_told_and_mended(tmp_path, capsys):
    folder = tmp_path / "store"
    write(folder, [1, 2])
    (folder / "row.bin").write_bytes(b"12345678" * 2)
    assert stored_or_made(folder, "numbers", numbers(folder), lambda _: write(folder, [3])) == [3]
    assert "the stored numbers are damaged and are computed again" in capsys.readouterr().out


def test_a_killed_pass_leaves_its_parts_and_the_next_one_clears_them(tmp_path):
    folder = tmp_path / "store"

    def killed(parts):
        in_parts(parts, "rows", BLOCKS[:2], 6, read, write)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored_or_made(folder, "numbers", numbers(folder), killed)
    made = []

    def whole(parts):
        in_parts(parts, "rows", BLOCKS, 6, read, lambda path, rows: (made.append(rows.tolist()), write(path, rows)))
        write(folder, np.concatenate(BLOCKS))

    assert stored_or_made(folder, "numbers", numbers(folder), whole) == [4, 2, 1, 0, 3, 5]
    assert made == [[0, 3, 5]]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_abandoned_parts_of_a_finished_store_go(tmp_path):
    folder = tmp_path / "store"
    write(folder, [1])
    write(tmp_path / "store.parts" / "part-00000", [1])
    stored_or_made(folder, "numbers", numbers(folder), pytest.fail)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_two_at_once_make_it_once(tmp_path):
    folder, begun, made, found = tmp_path / "store", threading.Event(), [], []
    go = threading.Event()

    def make(_):
        begun.set()
        assert go.wait(20)
        made.append(1)
        write(folder, [7])

    def one():
        found.append(stored_or_made(folder, "numbers", numbers(folder), make))

    first, second = threading.Thread(target=one), threading.Thread(target=one)
    first.start()
    assert begun.wait(20)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go.set()
    first.join(20)
    second.join(20)
    assert (made, found) == ([1], [[7], [7]])
