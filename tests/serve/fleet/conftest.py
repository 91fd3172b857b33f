"""A live service in a thread of this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from teststrip.serve.jobs.job import JobRecord
from teststrip.testing.instant import InstantStepper
from teststrip.testing.service_thread import Served, served


@dataclass(frozen=True)
class Service:
    """Where it is, and what it has."""

    url: str
    served: Served

    def jobs(self) -> list[JobRecord]:
        """All jobs, oldest first."""
        return self.served.call(self.served.parts.state.page(None, limit=1000))[0][::-1]


@contextmanager
def running(home, *, with_worker=True, step_s=0.0, **fields) -> Iterator[Service]:
    """`fields`: keys, and those of ServiceConfig."""
    stepper = partial(InstantStepper, step_s=step_s) if with_worker else None
    with served(home, stepper, retry_base_s=0.01, **fields) as found:
        yield Service(found.address, found)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def a_service(tmp_path):
    """Makes one of its own: `with a_service(step_s=0.02, slots=2) as service`."""
    return partial(running, tmp_path)
