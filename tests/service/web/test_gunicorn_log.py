"""Gunicorn's messages in this service's log, and its own flags beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config

from service.web.gunicorn_log import GunicornLog

KEY = "ty_" + "a1" * 12


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Gunicorn's loggers as they were."""
    yield
    for name in ("gunicorn.error", "gunicorn.access"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            handler.close()
            logger.removeHandler(handler)
        logger.propagate = True


def made(**options: object) -> GunicornLog:
    cfg = Config()
    for name, value in options.items():
        cfg.set(name, value)
    return GunicornLog(cfg)


def test_messages_go_where_those_of_the_service_go(caplog: pytest.LogCaptureFixture) -> None:
    log = made()
    log.setup(log.cfg)  # as on SIGHUP
    log.error("a %s", "b")
    assert [record.getMessage() for record in caplog.records] == ["a b"]
    assert log.error_log.handlers == []
    assert not log.access_log_enabled


def test_a_file_of_errors_has_the_same_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(errorlog=str(tmp_path / "log")).error("a %s", KEY)
    line = json.loads((tmp_path / "log").read_text())
    assert (line["event"], line["level"], line["logger"]) == ("a ty_…", "error", "gunicorn.error")
    assert caplog.records == []


def test_the_access_log_of_gunicorn_has_its_own_form_without_keys(tmp_path: Path) -> None:
    log = made(accesslog=str(tmp_path / "access"))
    assert log.access_log_enabled
    log.access_log.info("GET /?key=%s", KEY)
    assert (tmp_path / "access").read_text() == "GET /?key=ty_…\n"


def test_a_configuration_of_the_operator_is_left_alone(tmp_path: Path) -> None:
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "own"), "formatter": "generic"}
    loggers = {"gunicorn.error": {"handlers": ["own"], "level": "INFO", "propagate": False}}
    made(logconfig_dict={"version": 1, "handlers": {"own": handler}, "loggers": loggers, "root": {}}).error("a")
    assert (tmp_path / "own").read_text().endswith("[ERROR] a\n")
