"""Which faults of a store are an outage, which a refusal, and which are of one request alone."""

import socket

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import INVALID_STATE, RESOURCE_DOES_NOT_EXIST
from mlflow.utils.rest_utils import MlflowHostCreds, http_request
from sqlalchemy.exc import OperationalError

from teststrip.errors import StorageError
from teststrip.track.faults import StoreAway, StoreRefused, kind_of, words


def answered(status):
    answer = requests.Response()
    answer.status_code = status
    return requests.HTTPError(f"{status} of a proxy", response=answer)


def told(status):
    return MlflowException(f"API request to endpoint /x failed with error code {status} != 200. ")


def rest(code):
    return RestException({"error_code": code, "message": "said the server"})


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (requests.ConnectionError("[Errno 111] Connection refused"), StoreAway),
        (requests.ReadTimeout("Read timed out. (read timeout=30)"), StoreAway),
        (ConnectionResetError(104, "Connection reset by peer"), StoreAway),
        (requests.exceptions.SSLError("EOF occurred in violation of protocol"), StoreAway),
        (requests.exceptions.SSLError("certificate verify failed: expired"), StoreRefused),
        (requests.exceptions.InvalidURL("no host"), StorageError),
        *[(answered(status), StoreAway) for status in (408, 429, 500, 502, 503, 504)],
        *[(told(status), StoreAway) for status in (429, 502, 503)],
        *[(make(status), StoreRefused) for make in (answered, told) for status in (401, 403)],
        *[(make(status), StorageError) for make in (answered, told) for status in (400, 404, 413)],
        (rest("TEMPORARILY_UNAVAILABLE"), StoreAway),
        (rest("INTERNAL_ERROR"), StoreAway),
        (rest("BAD_REQUEST"), StoreAway),  # MLflow's word for a database that broke off
        (rest("PERMISSION_DENIED"), StoreRefused),
        (rest("INVALID_PARAMETER_VALUE"), StorageError),
        (MlflowException("no such run", RESOURCE_DOES_NOT_EXIST), StorageError),
        (MlflowException("deleted", INVALID_STATE), StorageError),
        (OperationalError("SELECT 1", {}, Exception("server closed the connection")), StoreAway),
        (PermissionError(13, "Permission denied"), StorageError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:40],
)
def test_what_a_fault_means(exc, kind):
    assert kind_of(exc) is kind


def test_nobody_at_an_address_is_an_outage_in_few_words():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MlflowException) as caught:
        http_request(MlflowHostCreds(f"http://127.0.0.1:{port}"), "/x", "GET", max_retries=0)

    assert kind_of(caught.value) is StoreAway
    assert words(caught.value) == "connection refused"
