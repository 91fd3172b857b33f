"""What several rooms' tests share."""

import os
import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings

# The same examples on every run; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are slower on two threads than on one, and far slower on busy cores."""
    import torch

    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(kept)


def _told(name: str) -> str:
    """Where a server of the tests is."""
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: run these tests by `scripts/services.sh run`", False)
    return value


@pytest.fixture(scope="module")
def databases() -> Iterator[str]:
    """Two empty PostgreSQL databases, NAME and NAME_login; the address of the first."""
    import psycopg

    whole, name = _told("TESTSTRIP_TEST_POSTGRES"), f"mlflow_{secrets.token_hex(4)}"
    both = (name, f"{name}_login")
    with psycopg.connect(whole, autocommit=True) as connection:
        for one in both:
            connection.execute(f'CREATE DATABASE "{one}"')
    yield urlunsplit(urlsplit(whole)._replace(path=f"/{name}"))
    with psycopg.connect(whole, autocommit=True) as connection:
        for one in both:
            connection.execute(f'DROP DATABASE "{one}" WITH (FORCE)')
