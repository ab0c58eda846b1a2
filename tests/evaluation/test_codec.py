"""Values by value: what is written comes back, and no bytes do anything else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.sandbox.inside.codec import MAX_DEPTH, TRUSTED_BYTES, Array, Reference, Unserializable, decode, encode

ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.binary(),
    st.text(st.characters(codec=None, exclude_categories=())), st.sampled_from([int, str, set]),
)  # fmt: skip
KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.frozensets(st.integers()))
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(KEYS, inner), st.sets(KEYS), st.frozensets(KEYS)
    ),
    max_leaves=8,
)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_encode_then_decode_is_the_same_value(value):
    assert exact(decode(encode(value))) == exact(value)


def exact(value):
    """What tells 1 from True and 0.0 from -0.0, and nan is nan; sets have no order."""
    if type(value) in (list, tuple):
        return type(value), [exact(item) for item in value]
    if type(value) in (set, frozenset):
        return type(value), sorted(map(repr, map(exact, value)))
    if type(value) is dict:
        return dict, [(exact(key), exact(item)) for key, item in value.items()]
    return repr(value)


@given(VALUES, st.data())
@settings(max_examples=150, deadline=None)
def test_changed_bytes_are_a_plain_value_or_refused(value, data):
    changed = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Unserializable):
        check_plain(decode(bytes(changed)))


def check_plain(value):
    plain = (
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        list,
        tuple,
        dict,
        set,
        frozenset,
        type,
        Array,
        Reference,
    )
    assert type(value) in plain
    if type(value) in (list, tuple, set, frozenset, dict):
        for item in value:
            check_plain(item)
        for item in value.values() if type(value) is dict else ():
            check_plain(item)


@pytest.mark.parametrize(
    "data",
    [b"", b"i", b"i\xff\xff\xff\xff", b"l\xff\xff\xff\xffN", b"NN", b"d\x01\x00\x00\x00l\x00\x00\x00\x00N", b"?",
     b"y\x04\x00\x00\x00eval", b"l\x01\x00\x00\x00" * 10_000],
)  # fmt: skip
def test_what_is_no_value_is_refused(data):
    with pytest.raises(Unserializable):
        decode(data)


def test_size_depth_and_class_are_bounded():
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    loop: list[object] = []
    loop.append(loop)
    for value in (deep, loop, list(range(2_000_000)), "y" * (9 << 20), object(), iter([]), lambda: 1):
        with pytest.raises(Unserializable):
            encode(value)


def test_our_own_values_may_have_more_items_than_a_programs():
    many = [0] * 1_050_000
    with pytest.raises(Unserializable, match="more than 1,048,576 items"):
        encode(many)
    data = encode(many, None, TRUSTED_BYTES)
    with pytest.raises(Unserializable):
        decode(data)
    assert decode(data, None, TRUSTED_BYTES) == many


def test_an_array_decides_nothing():
    for use in (lambda array: array == [1], lambda array: array != [1], bool, hash):
        with pytest.raises((ValueError, TypeError)):
            use(decode(encode(Array([1]))))
