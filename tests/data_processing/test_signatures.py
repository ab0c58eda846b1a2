from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from data_processing import signatures
from data_processing.document import Document
from data_processing.minhash import signature
from data_processing.signatures import BrokenSignatures, Signatures, identity, write_signatures

TEXTS = [f"def f{i}(a, b):\n    return a + {i} * b\n" for i in range(7)] + ["x = 1\n"]


def document(number: int, **meta: object) -> Document:
    return Document(
        TEXTS[number], {"repo_name": f"owner/r{number % 3}", "file_name": f"é{number}.py", "stars": number, **meta}
    )


def write(path: Path, documents: list[Document]) -> Path:
    with path.open("wb") as file:
        assert write_signatures(documents, file, lambda d: d.meta["stars"] % 3) == len(documents)
    return path


@pytest.fixture
def table(tmp_path) -> Signatures:
    """Eight documents over four files, of which two are empty."""
    documents = [document(i) for i in range(8)]
    parts = [documents[:3], [], documents[3:], []]
    return Signatures([write(tmp_path / f"{i}.signatures", part) for i, part in enumerate(parts)])


def test_every_field_and_name_comes_back_in_any_order(table):
    assert len(table) == 8 and [table.rows_of(i) for i in range(4)] == [
        slice(0, 3),
        slice(3, 3),
        slice(3, 8),
        slice(8, 8),
    ]
    rows = np.array([7, 2, 2, 0, 5, 3, 6])
    assert table.names(rows) == [(f"owner/r{i % 3}".encode(), f"é{i}.py".encode()) for i in rows]
    assert table.take(rows, "stars").tolist() == rows.tolist()
    assert table.take(rows, "license").tolist() == (rows % 3).tolist()
    assert table.take(rows, "signed").tolist() == [False, True, True, True, True, True, True]
    for row, ours in zip(rows[1:], table.take(rows[1:], "signature"), strict=True):
        assert np.array_equal(ours, signature(TEXTS[row]))
    assert np.array_equal(table.take(rows, "id"), [identity(document(int(i))) for i in rows])
    nothing = np.array([], np.int64)
    assert table.names(nothing) == [] and len(table.take(nothing, "id")) == 0


def test_records_are_read_up_to_the_end_of_their_file(table):
    assert table.read(1, 100)["stars"].tolist() == [1, 2]
    assert table.read(3, 2)["stars"].tolist() == [3, 4]
    assert table.read(7, 2)["stars"].tolist() == [7]


def test_keys_are_equal_where_repository_and_text_are(tmp_path):
    texts = ["a b\n", "a b\n", "a  b", "ab"]
    documents = [Document(text, {"repo_name": repo}) for text in texts for repo in ("one", "two", None)]
    table = Signatures([write_plainly(tmp_path / "s", documents)])
    rows = np.arange(len(documents))
    inside = [tuple(key) for key in table.take(rows, "in_repository").tolist()]
    exact = [tuple(key) for key in table.take(rows, "exact").tolist()]
    for i, one in enumerate(documents):
        for j, other in enumerate(documents):
            same_repository = one.meta["repo_name"] == other.meta["repo_name"]
            assert (inside[i] == inside[j]) == (
                same_repository and (one.meta["repo_name"] is None or one.text == other.text)
            )
            assert (exact[i] == exact[j]) == (one.text.split() == other.text.split())
    assert {inside[i] for i, one in enumerate(documents) if one.meta["repo_name"] is None} == {(0, 0)}


def write_plainly(path: Path, documents: list[Document]) -> Path:
    with path.open("wb") as file:
        write_signatures(documents, file, lambda _: 0)
    return path


@pytest.mark.parametrize(
    ("stars", "stored"), [(None, -1), (float("nan"), -1), ("many", -1), (12.0, 12), ("12", 12), (1 << 70, -1)]
)
def test_stars_that_are_unknown_count_less_than_none(tmp_path, stars, stored):
    table = Signatures([write_plainly(tmp_path / "s", [document(1, stars=stars)])])
    assert table.take(np.array([0]), "stars").tolist() == [stored]


def test_an_identity_is_that_of_the_id_and_the_meta_in_any_order():
    one = document(1)
    turned = Document(one.text, dict(reversed(one.meta.items())))
    assert np.array_equal(identity(one), identity(turned))
    others = [document(2), Document(one.text + " ", one.meta), document(1, stars=8), document(1, file_name="\ud800")]
    assert len({identity(other).tobytes() for other in [one, *others]}) == 5


def test_the_same_documents_give_the_same_bytes():
    digests = set()
    for _ in range(2):
        file = BytesIO()
        write_signatures([document(i) for i in range(8)], file, lambda _: 0)
        digests.add(hashlib.sha256(file.getvalue()).hexdigest())
    assert len(digests) == 1


def test_a_file_that_is_cut_or_made_by_other_rules_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "s", [document(i) for i in range(8)])
    data = path.read_bytes()
    for broken in (b"", data[:100], data[:-1], data[1000:], data + data[-200:]):
        path.write_bytes(broken)
        with pytest.raises(BrokenSignatures, match=r"wanted .*: delete it, so that the next run writes it anew"):
            Signatures([path])
    path.write_bytes(data)
    rules = signatures.RULES
    monkeypatch.setattr(signatures, "RULES", "0: other")
    with pytest.raises(BrokenSignatures, match=f"made by the rules '{rules}'; wanted '0: other'"):
        Signatures([path])
