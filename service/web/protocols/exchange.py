"""A request for predictions as its protocol reads and answers it; what lies between is the same for all protocols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from models.data.rows import Array
from models.errors import InvalidError
from models.registry.versions import Wanted
from models.serving.asked import NOTHING, Asked
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction, RowOverflowError
from service.serving.resolution import ServedVersion
from service.web.memory import SMALL, Held

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["Exchange", "Reader", "Reply", "version_header"]

#: Bytes of a number that the network reads, while rows become such numbers.
ENCODED = 8


class Reply(NamedTuple):
    """The body of an answer, whole or in blocks, its type, and the fields that it has besides."""

    body: bytes | Iterator[bytes]
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def version_header(prediction: Prediction) -> tuple[tuple[str, str], ...]:
    """The field that names the version or the checkpoint that answered, for answers whose body does not."""
    answered = prediction.checkpoint if prediction.version is None else prediction.version
    return (("X-Model-Version", str(answered)),)


class Exchange(ABC):
    """One request for predictions, and its answer."""

    #: The name of the model, and which of its versions is wanted.
    model: str
    wanted: Wanted = None
    #: What is asked for beside probabilities.
    asked: Asked = NOTHING
    #: What a split alias keeps together: requests with the same text are answered by the same version.
    sticky: str | None = None
    #: The JSON pointer to the rows.
    place: str = ""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many rows there are that may become numbers."""

    def shares(self, network: ServedModel) -> bool:
        """Whether ``reply`` makes the answer, from probabilities alone, so that requests may share a pass."""
        return True

    @abstractmethod
    def rows(self, network: ServedModel) -> Array:
        """What the network reads, (n_rows, n_inputs). Raises InvalidError with pointers into the request."""

    @abstractmethod
    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        """The answer for the prediction of these rows. Raises InvalidError for what the version cannot answer."""

    def given(self) -> Sequence[Any] | None:
        """The rows as they came, as JSON has them: lists, or objects by column; None if they came otherwise."""
        return None

    def moved(self, error: RowOverflowError) -> InvalidError:
        """The error of a row that overflows, with its place in the request."""
        return error.moved("", self.place)

    def answer(self, version: ServedVersion, rows: Array, held: Callable[[], Held]) -> Reply:
        """The answer for rows that were read, if it does not share; what it takes is ``held``.

        Raises RowOverflowError, InvalidError, and what ``Held.reserve`` raises.
        """
        raise NotImplementedError

    def read(self, version: ServedVersion, held: Callable[[], Held]) -> Array:
        """What the network of a version reads, held if it is much."""
        network = version.network
        if self.count * network.row_memory > SMALL:
            held().add(self.count * network.definition.inputs * ENCODED)
        return self.rows(network)


class Reader(ABC):
    """How a protocol reads the requests of one path."""

    def takes(self, environ: WSGIEnvironment) -> bool:
        """Whether a request with this head is one that ``read`` reads; the route answers all others."""
        return True

    @abstractmethod
    def read(self, environ: WSGIEnvironment, body: bytes, held: Held | None) -> Exchange:
        """The request. What its values take is ``held``; None for a small body. Raises TrainyardError."""
