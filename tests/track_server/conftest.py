"""One server for the tests that leave it as it was; its own for those that kill it."""

from collections.abc import Iterator

import pytest

from teststrip.testing.track_process import TrackProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackProcess]:
    with TrackProcess(tmp_path_factory.mktemp("track")) as started:
        yield started
