"""Which layers of a deep network a shallower one is compared with, and starts from.

States are counted from the embeddings, 0, to the last layer. A map pairs states of teacher and student; the attention
of a pair is that of the layers that end in its states, so the embeddings have none.
"""

from __future__ import annotations

from collections.abc import Sequence

from console import InputError

LAYER_MAPS = ("uniform", "last", "every_other")
# (teacher's state, student's state)
LayerMap = tuple[tuple[int, int], ...]


def uniform_layer_map(total: int, kept: int) -> list[int]:
    """Which of a teacher's total + 1 hidden states the kept + 1 states of a shallower network are compared with.

    Before the i-th layer of the student stands what stands before the teacher's layer floor(i total/kept); the last
    states belong together (Hou et al. 2020, eq. 5; Jiao et al. 2019: the last layer of every block).
    """
    return [i * total // kept for i in range(kept + 1)]


def last_layer_map(total: int, kept: int) -> list[int]:
    """The embeddings, and the last ``kept`` layers one to one (patient knowledge distillation, Sun et al. 2019)."""
    return [0, *range(total - kept + 1, total + 1)]


def every_other_layer_map(total: int, kept: int) -> list[int]:
    """The embeddings, the first layer, the last, and what lies evenly between: of 12 the layers 1 3 5 8 10 12 for six.

    That is how DistilBERT (Sanh et al. 2019) and MiniRBT's assistant take their layers. One layer alone is the last.
    """
    if kept == 1:
        return [0, total]
    return [0, *(1 + round(i * (total - 1) / (kept - 1)) for i in range(kept))]


RULES = {"uniform": uniform_layer_map, "last": last_layer_map, "every_other": every_other_layer_map}


def parse_layer_map(text: str) -> LayerMap | None:
    """Reads ``0:0,3:1,6:2`` (teacher's state : student's state); None for the name of a rule.

    Raises:
        ValueError: neither; or a state of the student stands there twice.
    """
    if text in RULES:
        return None
    try:
        pairs = [tuple(int(number) for number in pair.split(":")) for pair in text.replace(" ", "").split(",")]
    except ValueError:
        pairs = []
    if not pairs or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ValueError(f"expected {', '.join(RULES)}, or pairs teacher:student such as 0:0,3:1,6:2 (0: embeddings)")
    students = [student for _, student in pairs]
    if sorted(set(students)) != students:
        raise ValueError("expected the student's states in rising order, each once")
    return tuple(pairs)  # type: ignore[return-value]


def layer_map(text: str, total: int, kept: int, option: str = "--layer_map") -> LayerMap:
    """The pairs of states that are compared.

    Args:
        text: a rule of :data:`LAYER_MAPS`, or explicit pairs, see :func:`parse_layer_map`.
        total: the teacher's layers.
        kept: the student's.
        option: names the map in errors.

    Raises:
        InputError: the student has more layers than the teacher, or a state that one of them does not have.
    """
    try:
        pairs = parse_layer_map(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from None
    if pairs is None:
        if kept > total:
            raise InputError(
                f"{option} {text}: the student has {kept} layers, its teacher {total}; name pairs, or fewer layers"
            )
        return tuple((teacher, student) for student, teacher in enumerate(RULES[text](total, kept)))
    for teacher, student in pairs:
        if teacher > total or student > kept:
            raise InputError(
                f"{option} {teacher}:{student}: the teacher's states go from 0 to {total}, the student's to {kept}"
            )
    return pairs


def layers_of(pairs: Sequence[tuple[int, int]]) -> LayerMap:
    """The pairs that are layers, numbered from 0: (teacher's layer, student's layer); the embeddings are left out."""
    return tuple((teacher - 1, student - 1) for teacher, student in pairs if teacher and student)


def is_layer_map(text: str) -> str | None:
    """A check: a rule, or explicit pairs."""
    try:
        parse_layer_map(text)
    except ValueError as error:
        return str(error)
    return None
