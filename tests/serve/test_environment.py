import pytest

from teststrip.errors import ConfigError
from teststrip.serve.config import ServiceConfig
from teststrip.serve.environment import read_config


def test_nothing_set_is_one_process_with_all_defaults():
    assert read_config({}).model_dump() == ServiceConfig().model_dump()
    assert read_config({}).kind == "one process"


def test_an_empty_value_is_a_setting_that_is_not_set():
    config = read_config({"TESTSTRIP_SERVICE_CHAMPION": "", "TESTSTRIP_SERVICE_BROKER": ""})

    assert config.champion == ""
    assert config.broker is None


def test_values_are_read_lists_by_comma_and_secrets_from_files(tmp_path):
    broker = tmp_path / "broker"
    broker.write_text("amqp://a:b@c/\n")
    config = read_config(
        {
            "TESTSTRIP_SERVICE_BROKER_FILE": str(broker),
            "TESTSTRIP_SERVICE_REDIS": "redis://c",
            "TESTSTRIP_SERVICE_MODELS": "builtin, someone/model",
            "TESTSTRIP_SERVICE_MAX_N": "4",
            "TESTSTRIP_SERVICE_KEY": "of a client",
        }
    )

    assert config.broker.get_secret_value() == "amqp://a:b@c/"
    assert config.models == ("builtin", "someone/model")
    assert config.max_n == 4
    assert config.kind == "apart"


def test_all_faults_come_at_once_and_name_the_variables():
    with pytest.raises(ConfigError) as caught:
        read_config(
            {
                "TESTSTRIP_SERVICE_MAX_N": "many",
                "TESTSTRIP_SERVICE_MAX_STEP": "20",
                "TESTSTRIP_SERVICE_LEASE_S": "0",
                "TESTSTRIP_SERVICE_BROKER_FILE": "/nowhere/at/all",
            }
        )

    told = "\n".join(caught.value.faults)
    assert "TESTSTRIP_SERVICE_MAX_STEP: unknown setting; did you mean" in told
    assert "TESTSTRIP_SERVICE_MAX_N: " in told
    assert "(got 'many')" in told
    assert "TESTSTRIP_SERVICE_LEASE_S: " in told
    assert "/nowhere/at/all: cannot be read" in told


@pytest.mark.parametrize(
    "given",
    [
        {"TESTSTRIP_SERVICE_SECRET": "hushhush"},
        {"TESTSTRIP_SERVICE_BROKER": "amqp://user:hushhush@x/"},
        {"TESTSTRIP_SERVICE_SECRET": "hushhush", "TESTSTRIP_SERVICE_MAX_N": "-1"},
    ],
)
def test_no_fault_shows_a_secret(given):
    with pytest.raises(ConfigError) as caught:
        read_config(given)

    assert "hushhush" not in str(caught.value)
