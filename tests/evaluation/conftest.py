"""One sandbox with numpy at hand for all tests of benchmarks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evaluation.sandbox import Sandbox


@pytest.fixture(scope="session")
def warm_sandbox() -> Iterator[Sandbox]:
    with Sandbox(2, warm=("numpy",)) as opened:
        yield opened
