"""Splits: which side of train, validation and test a cluster of documents is on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from interface.errors import UserError

SPLITS = ("train", "validation", "test")
TEST_SHARE, VALIDATION_SHARE = 0.05, 0.05


class EmptySplit(UserError):
    """A split would hold nothing, or holds nothing."""


def position(cluster: str) -> float:
    """A cluster's place in [0, 1), from its name alone."""
    return int.from_bytes(hashlib.blake2b(cluster.encode(), digest_size=8).digest()) / 2**64


def assign(clusters: Iterable[str]) -> dict[str, str]:
    """Put each cluster on one side, by the hash of its name: independent of order, and of clusters added later.

    Where so few clusters leave a side empty, it takes the one with the lowest hash from the side that has most.
    Raises: EmptySplit for fewer than three clusters.
    """
    names = sorted(set(clusters), key=lambda name: (position(name), name))
    if len(names) < len(SPLITS):
        raise EmptySplit(
            f"{len(names)} file{'s' * (len(names) != 1)} or cluster{'s' * (len(names) != 1)} of code passed the "
            f"filters; wanted at least {len(SPLITS)}, so that train, validation and test each get one"
        )
    sides = {
        name: "test" if position(name) < TEST_SHARE
        else "validation" if position(name) < TEST_SHARE + VALIDATION_SHARE
        else "train"
        for name in names
    }  # fmt: skip
    for side in SPLITS:
        if side not in sides.values():
            counts = Counter(sides.values())
            donor = max(SPLITS, key=lambda name: counts[name])
            sides[next(name for name in names if sides[name] == donor)] = side
    return sides
