"""The objects of a bucket, through obstore: what each call means for a caller that works with files.

obstore is imported, and its connections are made, by the first call of each process: its threads do not survive a fork.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from models.formats.durable import UnreachableError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Object", "Objects"]

#: Bytes of a part of an upload, and of a range of a download. With the time limit of a request, they bound how slow a
#: connection may be.
PART_BYTES = 8 * 2**20
#: Parts that are sent at the same time.
_AT_ONCE = 2
#: Limits of a request, and of one in which the server copies a large object.
_TIMEOUT, _LONG_TIMEOUT = "30s", "900s"
#: A name after all those of a bucket.
_LAST = "\U0010ffff"


class Object(NamedTuple):
    """An object: its key, size, time of the last change in seconds, and what the server calls its content.

    Servers tell contents apart by a tag, a version or both.
    """

    key: str
    bytes: int
    modified: float
    tag: str | None
    version: str | None


class Objects:
    """The objects below a URL as ``s3://bucket/prefix``; endpoint and credentials come from the environment.

    All methods raise UnreachableError if the server does not answer, refuses, or has no such bucket.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        #: The connections of this process, by their limit.
        self._stores: dict[tuple[int, str], ObjectStore] = {}

    def create(self, key: str, content: Iterable[Any]) -> None:
        """Make an object that is held in memory until it is sent. Raises FileExistsError if there is one."""
        import obstore

        with _errors(key):
            obstore.put(self._store(), key, content, mode="create")

    def replace(self, key: str, content: bytes) -> None:
        """Make an object, or give it other content."""
        import obstore

        with _errors(key):
            obstore.put(self._store(), key, content, use_multipart=False)

    def update(self, found: Object, content: bytes) -> None:
        """Give an object other content. Raises FileExistsError if it is not what was found any more."""
        import obstore

        with _errors(found.key):
            known: Any = {name: value for name, value in (("e_tag", found.tag), ("version", found.version)) if value}
            obstore.put(self._store(), found.key, content, mode=known)

    def upload(self, key: str, content: Iterable[Any]) -> None:
        """Make an object in parts, of which few are in memory at a time. It replaces another one."""
        import obstore

        with _errors(key):
            obstore.put(
                self._store(),
                key,
                content,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=_AT_ONCE,
            )

    def copy(self, key: str, new: str) -> None:
        """Have the server copy an object, in place of another one of the new name. Raises FileNotFoundError."""
        import obstore

        with self._present(key):
            obstore.copy(self._store(_LONG_TIMEOUT), key, new)

    def head(self, key: str) -> Object:
        """What the server says of an object. Raises FileNotFoundError."""
        import obstore

        with self._present(key):
            return _object(obstore.head(self._store(), key))

    def read(self, key: str) -> bytes:
        """The content of a small object. Raises FileNotFoundError."""
        import obstore

        with self._present(key):
            return bytes(obstore.get(self._store(), key).bytes())

    def pieces(self, found: Object) -> Iterator[memoryview]:
        """The content of an object, a piece at a time. Raises FileNotFoundError."""
        import obstore

        for start in range(0, found.bytes, PART_BYTES):
            length = min(PART_BYTES, found.bytes - start)
            with self._present(found.key):
                piece = obstore.get_range(self._store(), found.key, start=start, length=length)
            yield memoryview(piece)

    def below(self, folder: str) -> Iterator[Object]:
        """All objects whose keys begin with a folder's name."""
        import obstore

        with _errors(folder):
            for batch in obstore.list(self._store(), prefix=folder):
                for found in batch:
                    yield _object(found)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones are ignored."""
        import obstore

        try:
            with _errors(self.url):
                obstore.delete(self._store(), list(keys))
        except FileNotFoundError:  # Some servers report it, and then perhaps nothing else was deleted.
            for key in keys:
                with suppress(FileNotFoundError), _errors(key):
                    obstore.delete(self._store(), key)

    @contextmanager
    def _present(self, key: str) -> Iterator[None]:
        """A block that asks for an object, and raises FileNotFoundError only if the bucket exists.

        Of a bucket that does not exist, HEAD says of each object that there is none. That is no loss of all files.
        """
        import obstore

        try:
            with _errors(key):
                yield
        except FileNotFoundError:
            with _errors(self.url):
                try:
                    next(iter(obstore.list(self._store(), offset=_LAST)), None)
                except FileNotFoundError as error:
                    raise _unreachable(self.url, error) from None
            raise FileNotFoundError(errno.ENOENT, "no such object", key) from None

    def _store(self, timeout: str = _TIMEOUT) -> ObjectStore:
        place = os.getpid(), timeout
        if place not in self._stores:
            from obstore.store import from_url

            self._stores[place] = from_url(
                self.url,
                client_options={"allow_http": _uses_http(os.environ), "connect_timeout": "5s", "timeout": timeout},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
            )
        return self._stores[place]


def _object(found: Any) -> Object:
    modified = found["last_modified"].timestamp()
    return Object(found["path"], found["size"], modified, found["e_tag"], found["version"])


def _uses_http(environment: Mapping[str, str]) -> bool:
    """Whether a variable of a client names an endpoint without TLS, which an operator then means."""
    return any(
        name.startswith(("AWS_", "AZURE_", "GOOGLE_")) and "ENDPOINT" in name and value.startswith("http://")
        for name, value in environment.items()
    )


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """A block in which errors of obstore become those that files have."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise FileExistsError(errno.EEXIST, "another process has made this object", what) from None
    except BaseError as error:
        raise _unreachable(what, error) from None


def _unreachable(what: str, error: Exception) -> UnreachableError:
    # The rest of the message is a dump of the client's state.
    reason = str(error).partition("\n")[0].strip()
    return UnreachableError(errno.EHOSTUNREACH, f"the object storage does not answer: {reason}", what)
