"""Routes that work on a full disk, since they are how a client makes room there, or saves what it then deletes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from flask import Response

from service.store.storage_errors import storage_error_code
from service.web.context import context

__all__ = ["makes_room"]

View = TypeVar("View", bound=Callable[..., Response])


def makes_room(view: View) -> View:
    """Run a view again, once, if the disk is full: the reserve is given up before that.

    What the view did at first must be undone by its error, as a transaction is.
    """

    @wraps(view)
    def run(*arguments: Any, **options: Any) -> Response:
        try:
            return view(*arguments, **options)
        except (OSError, sa.exc.OperationalError) as error:
            if storage_error_code(error) != "storage_full":
                raise
        # Another request may have given it up at the same moment, so that there is room, too.
        context().files.disk.give_up_reserve()
        return view(*arguments, **options)

    return cast("View", run)
