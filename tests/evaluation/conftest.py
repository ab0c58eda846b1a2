"""Sandboxes that tests share; where the system allows none, such tests are skipped with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evaluation.sandbox import Sandbox, SandboxUnavailable


@contextmanager
def sandbox_or_skip(workers: int, warm: tuple[str, ...] = ()) -> Iterator[Sandbox]:
    opened = Sandbox(workers, warm=warm)
    try:
        opened.__enter__()
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with sandbox_or_skip(4) as opened:
        yield opened


@pytest.fixture(scope="session")
def warm_sandbox() -> Iterator[Sandbox]:
    with sandbox_or_skip(2, ("numpy",)) as opened:
        yield opened
