"""Gunicorn's messages as lines of this service's log."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from service import log

__all__ = ["GunicornLog"]


class _Access(logging.Formatter):
    """A line of gunicorn's own access log, which has whole paths, without what looks like a key."""

    def format(self, record: logging.LogRecord) -> str:
        return log.redacted(super().format(record))


class GunicornLog(Logger):  # type: ignore[misc]
    """Gunicorn's log. Its flags work as ever, and a log configuration of the operator's own is left alone."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json:
            return
        for handler in [*self.error_log.handlers]:
            handler.setFormatter(log.formatter)
            if cfg.errorlog == "-" and handler is self._get_gunicorn_handler(self.error_log):
                self.error_log.removeHandler(handler)
        self.error_log.propagate = cfg.errorlog == "-"
        for handler in self.access_log.handlers:
            handler.setFormatter(_Access())
