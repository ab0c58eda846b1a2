"""Shared pieces of the training tests: the processes of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ranks import Ranks


@pytest.fixture
def start_ranks() -> Iterator[Callable[..., Ranks]]:
    """Start the processes of a run; whatever the test leaves of them is killed."""
    started: list[Ranks] = []

    def start(*arguments: Any, **options: Any) -> Ranks:
        started.append(Ranks(*arguments, **options))
        return started[-1]

    yield start
    for ranks in started:
        ranks.kill()
