"""Wrong addresses, studies that went away, a store that does not answer: a page each, or JSON."""

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from teststrip.errors import StorageError
from teststrip.studio.app import create_app

PAGE, DATA = {"accept": "text/html"}, {"accept": "application/json"}


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/wall?study=nowhere", 404, "no study"),
        ("/wall?study=..%2f..%2fetc", 404, "no study"),
        ("/studies/nowhere", 404, "no study"),
        ("/findings?study=nowhere", 404, "no study"),
        ("/no/such/page", 404, "Not Found"),
        ("/wall?study=colours&x=no.such", 422, "no.such"),
        ("/wall?study=colours&f.recipe.steps.min=%3Cb%3Emany", 422, "many"),
    ],
)
def test_what_is_wrong_is_said_once_as_page_and_as_data(client, path, status, says):
    page = client.get(path, headers=PAGE)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert says in page.text
    assert "<b>many" not in page.text
    assert "Traceback" not in page.text
    assert 'aria-label="Pages"' in page.text, "the way back is there"

    data = client.get(path, headers=DATA)
    assert data.status_code == status
    assert says in data.json()["error"]


def test_a_store_that_does_not_answer_is_a_page_and_the_rest_works(parts):
    def down(name):
        raise StorageError("MLflow at http://lab does not answer; is it running?")

    client = TestClient(create_app(replace(parts, analysis=down)), base_url="http://127.0.0.1")
    page = client.get("/findings?study=colours", headers=PAGE)

    assert page.status_code == 503
    assert "does not answer" in page.text
    assert client.get("/wall?study=colours", headers=PAGE).status_code == 200
    assert client.get("/", headers=PAGE).status_code == 200
