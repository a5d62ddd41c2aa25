"""Which layers are compared, against maps written down by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from core.layer_map import LAYER_MAPS, layer_map, layers_of, parse_layer_map, uniform_layer_map


@pytest.mark.parametrize(
    ("rule", "total", "kept", "states"),
    [
        ("uniform", 12, 4, [0, 3, 6, 9, 12]),  # TinyBERT: the last layer of every block
        ("uniform", 6, 4, [0, 1, 3, 4, 6]),
        ("uniform", 6, 3, [0, 2, 4, 6]),
        ("last", 12, 4, [0, 9, 10, 11, 12]),
        ("every_other", 12, 6, [0, 1, 3, 5, 8, 10, 12]),  # DistilBERT's 0 2 4 7 9 11, counted from 1
        ("every_other", 6, 1, [0, 6]),
        ("every_other", 6, 2, [0, 1, 6]),
    ],
)
def test_rules_pair_these_states(rule, total, kept, states):
    assert layer_map(rule, total, kept) == tuple((teacher, student) for student, teacher in enumerate(states))


@given(st.sampled_from(LAYER_MAPS), st.integers(1, 30), st.data())
def test_every_rule_pairs_each_student_state_once_in_order(rule, total, data):
    kept = data.draw(st.integers(1, total))
    pairs = layer_map(rule, total, kept)
    assert [student for _, student in pairs] == list(range(kept + 1))
    teachers = [teacher for teacher, _ in pairs]
    assert teachers == sorted(set(teachers))
    assert (teachers[0], teachers[-1]) == (0, total)


def test_explicit_pairs_are_teacher_then_student():
    assert layer_map("0:0, 3:1,6:2", 6, 2) == ((0, 0), (3, 1), (6, 2))
    # The embeddings have no attention; layers are numbered from 0.
    assert layers_of(((0, 0), (3, 1), (6, 2))) == ((2, 0), (5, 1))
    assert parse_layer_map("uniform") is None


@pytest.mark.parametrize("text", ["unifrom", "", "1", "1:2:3", "a:b", "-1:0", "1:1,2:1", "2:2,1:1"])
def test_what_is_no_map_is_refused(text):
    with pytest.raises(InputError, match="--layer_map"):
        layer_map(text, 6, 3)


def test_states_that_a_network_does_not_have_are_refused():
    with pytest.raises(InputError, match=r"--layer_map 7:1: the teacher's states go from 0 to 6, the student's to 3"):
        layer_map("0:0,7:1", 6, 3)
    with pytest.raises(InputError, match="the student has 7 layers, its teacher 6"):
        layer_map("uniform", 6, 7)


def test_once_for_all_networks_ask_the_same_room():
    assert uniform_layer_map(6, 3) == [teacher for teacher, _ in layer_map("uniform", 6, 3)]
