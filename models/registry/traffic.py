"""What answers the requests that name an alias: one version, or several by their weights, and a shadow beside them."""

from __future__ import annotations

import json
import random
from bisect import bisect
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import accumulate
from math import inf, log
from typing import Any, NamedTuple

from models.errors import InvalidError, describe

__all__ = ["MOST_SHARES", "STICKY_CHARACTERS", "Shadow", "Share", "Traffic", "require_sticky"]

#: The most versions that an alias may name.
MOST_SHARES = 16
#: The most characters of the text that keeps requests on one version.
STICKY_CHARACTERS = 256
#: Bytes of a hash, and the number of different ones.
_BYTES = 8
_HASHES = 2 ** (8 * _BYTES)


class Share(NamedTuple):
    """A version that an alias names; it answers ``weight`` of the sum of all weights."""

    version: int
    weight: float


class Shadow(NamedTuple):
    """A version that predicts rows which another one has answered: ``share`` of the requests, logged if ``log``."""

    version: int
    share: float
    log: bool


@dataclass(frozen=True)
class Traffic:
    """The versions of an alias in ascending order, each once, and its shadow, if any."""

    shares: tuple[Share, ...]
    shadow: Shadow | None = None

    @classmethod
    def of(cls, version: int, text: str | None) -> Traffic:
        """That of an alias by its columns: its version, and ``text`` if there is more to it."""
        return cls((Share(version, 1.0),)) if text is None else _parsed(text)

    @property
    def text(self) -> str | None:
        """The canonical JSON that ``of`` reads; None for one version alone."""
        if len(self.shares) == 1 and self.shadow is None:
            return None
        return json.dumps(self.document(), separators=(",", ":"))

    @property
    def main(self) -> int:
        """The version with the greatest weight, the oldest of equal ones: what the alias means where one is named."""
        return max(self.shares, key=lambda share: (share.weight, -share.version)).version

    @property
    def numbers(self) -> list[int]:
        """All versions that occur, the shadow's last."""
        return [share.version for share in self.shares] + ([] if self.shadow is None else [self.shadow.version])

    def document(self) -> dict[str, Any]:
        """The members of the alias's document in the API."""
        return {
            "versions": [share._asdict() for share in self.shares],
            "shadow": None if self.shadow is None else self.shadow._asdict(),
        }

    def drawn(self, place: str, sticky: str | None, left_out: Collection[int] = ()) -> int:
        """The version that answers a request: by chance, or always the same one for a ``sticky`` text.

        ``place`` separates the texts of different aliases. Of versions that are ``left_out`` none is drawn, unless all
        of them are.

        A text goes to the version with the least of independent, exponentially distributed numbers, each of which is
        the hash of text and version divided by the version's weight. This is weighted rendezvous hashing (Thaler and
        Ravishankar 1998; weights as in Efraimidis and Spirakis 2006). So a text moves from one version to another only
        if the other's weight has grown in proportion to its own.
        """
        if left_out:
            others = tuple(share for share in self.shares if share.version not in left_out)
            return Traffic(others or self.shares).drawn(place, sticky)
        if len(self.shares) == 1:
            return self.shares[0].version
        if sticky is None:
            ends = self._ends
            place_of_chance = random.random() * ends[-1]  # noqa: S311 - it guards nothing
            return self.shares[bisect(ends, place_of_chance, 0, len(ends) - 1)].version
        text = f"{place}\0{sticky}\0".encode(errors="surrogatepass")
        least, found = inf, 0
        for version, weight in self.shares:
            digest = blake2b(text + b"%d" % version, digest_size=_BYTES).digest()
            waiting = -log((int.from_bytes(digest, "big") + 0.5) / _HASHES) / weight
            if waiting < least:
                least, found = waiting, version
        return found

    @cached_property
    def _ends(self) -> list[float]:
        """The sums of the weights up to each version."""
        return list(accumulate(share.weight for share in self.shares))

    def others(self, left_out: Collection[int]) -> bool:
        """Whether more than one version is not left out."""
        return sum(share.version not in left_out for share in self.shares) > 1


def require_sticky(value: Any) -> str | None:
    """Check what a request names to stay with one version, if anything. Raises InvalidError at ``/sticky``."""
    if value is None or (isinstance(value, str) and 0 < len(value) <= STICKY_CHARACTERS):
        return value
    detail = f"must be a string of 1 to {STICKY_CHARACTERS} characters. Received: {describe(value)}"
    raise InvalidError.at("/sticky", detail)


@lru_cache(1_000)
def _parsed(text: str) -> Traffic:
    found = json.loads(text)
    shadow = found["shadow"]
    return Traffic(tuple(Share(**share) for share in found["versions"]), None if shadow is None else Shadow(**shadow))
