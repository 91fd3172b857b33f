import logging.config

import pytest

from teststrip.logs import LEVELS, logging_config


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_is_a_valid_logging_config(level):
    logging.config.DictConfigurator(logging_config(level))


def test_warnings_of_python_code_are_quiet_by_default_and_told_from_info_on():
    assert logging_config("WARNING")["loggers"]["py.warnings"]["level"] == "ERROR"
    assert logging_config("INFO")["loggers"]["py.warnings"]["level"] == "WARNING"
