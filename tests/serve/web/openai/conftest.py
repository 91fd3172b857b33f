"""A live service (real HTTP, worker, an instant engine) and OpenAI's own client."""

import functools
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai
import pytest

from teststrip.testing.instant import InstantStepper
from teststrip.testing.service_thread import Served, served


@dataclass
class Live:
    """A running service and its clients."""

    served: Served
    clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def app(self):
        return self.served.app

    @property
    def url(self):
        return self.served.address

    def client(self, **options):
        """OpenAI's client, as anybody would make it."""
        given = {"api_key": "none is needed", "max_retries": 0} | options
        self.clients.append(openai.OpenAI(base_url=f"{self.url}/v1", **given))
        return self.clients[-1]

    def jobs(self):
        """All jobs, newest first."""
        return self.served.call(self.served.parts.state.page(None))[0]

    def cancel(self, job):
        """As its owner would."""
        self.served.call(self.served.parts.state.ask_cancel(job.key))

    def until(self, true):
        """Wait for a condition on the jobs; gives the jobs."""
        while not true(jobs := self.jobs()):
            time.sleep(0.01)
        return jobs


@pytest.fixture
def live(tmp_path):
    """`with live(keys=..., step_s=..., worker=False, **settings) as service: ...`"""

    @contextmanager
    def opened(*, keys=None, worker=True, step_s=0.0, **settings):
        stepper = functools.partial(InstantStepper, step_s=step_s) if worker else None
        with served(tmp_path, stepper, keys=keys, retry_base_s=0.01, **settings) as running:
            service = Live(running)
            try:
                yield service
            finally:
                for client in service.clients:
                    client.close()

    return opened
