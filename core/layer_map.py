"""Which layers of a deep network a shallower one is compared with."""

from __future__ import annotations


def uniform_layer_map(total: int, kept: int) -> list[int]:
    """Which of a teacher's total + 1 hidden states the kept + 1 states of a shallower network are compared with.

    Before the i-th layer of the student stands what stands before the teacher's layer floor(i total/kept); the last
    states belong together (Hou et al. 2020, eq. 5).
    """
    return [i * total // kept for i in range(kept + 1)]
