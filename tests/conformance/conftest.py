"""Each server is started once; what a test finds on it is compared with docs/conformance.md."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(
    0, str(Path(__file__).parents[1] / "interop")
)  # raw streams and peers, the host servers

from conformance_table import NOT_TRIED, row_of
from guests import Guests
from subjects import Subject, start

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and "subject" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.interop)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """The server that is looked at; each module says which ones."""
    async with start(request.param) as subject:
        yield subject


@pytest_asyncio.fixture(loop_scope="session")
async def guests(subject: Subject) -> AsyncIterator[Guests]:
    mark = subject.output.mark()
    async with Guests(subject, subject.network) as guests:
        yield guests
    print("---", subject.name, subject.output.text(mark), sep="\n")  # shown when a test fails


class Find:
    """To be called once by each test, with what the server does: `yes`, or `no, ...`."""

    def __init__(self, test: str, subject: str) -> None:
        self._test, self._subject = test, subject
        self.called = False

    def __call__(self, finding: str) -> None:
        self.called = True
        expected = row_of(self._test).expected(self._subject)
        assert expected != NOT_TRIED, f"docs/conformance.md lacks: {finding}"
        assert finding == expected


@pytest.fixture
def find(request: pytest.FixtureRequest, subject: Subject) -> Find:
    return Find(request.node.originalname, subject.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    yield
    find = getattr(item, "funcargs", {}).get("find")
    assert find is None or find.called, "the test found nothing out"
