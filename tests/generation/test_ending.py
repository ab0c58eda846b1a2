"""Streaming says what the finished completion says, and never what a stop string cuts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from generation.ending import pieces, settled

_TEXT = st.text(alphabet="ab\nd", max_size=40)


@settings(max_examples=500, deadline=None)
@given(_TEXT, st.lists(st.text(alphabet="ab\nd", min_size=1, max_size=4), max_size=3), st.lists(st.integers(1, 7)))
def test_the_pieces_add_up_to_the_cut_text_whatever_the_stops_and_the_chunks(text, stops, sizes):
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    wanted = text[: min(places)] if places else text
    states, end = [], 0
    for size in sizes:
        end += size
        if end >= len(text) or any(stop in text[:end] for stop in stops):
            break
        states.append((text[:end], False))
    said = list(pieces([*states, (wanted, True)], stops))
    assert "".join(said) == wanted and all(said)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.integers(1, 5))
def test_a_character_is_said_when_all_its_bytes_are_there(text, size):
    data = text.encode(errors="ignore")
    states = [(data[:end].decode(errors="replace"), False) for end in range(size, len(data), size)]
    assert "".join(pieces([*states, (data.decode(), True)], [])) == data.decode()


def test_as_little_as_possible_is_held_back():
    assert settled("x = 1\nde", ["\ndef", "\nclass"]) == "x = 1"
    assert settled("x = 1\n", []) == "x = 1\n"
    assert settled("abab", ["abac"]) == "ab"
    assert settled("caf\ufffd", []) == "caf"
