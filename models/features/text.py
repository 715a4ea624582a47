"""Texts: words and character n-grams, hashed into buckets."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from models.data.columns import Column, ColumnKind
from models.data.summary import TextSummary
from models.features.feature import ArrayForm, Encoded, Feature, Learned, Report, Sparse, one
from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter

__all__ = ["Text", "bucket_of", "terms_of"]

_WORD = re.compile(r"\w+")
#: Length of the character n-grams.
_N = 3


@dataclass(frozen=True)
class Text(Feature):
    """A text as the counts of its words and of their character 3-grams, hashed into ``buckets`` with a sign.

    The counts of a row are divided by their 2-norm. The sign makes terms that share a bucket cancel on average
    (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"). An empty text is 0 everywhere.
    """

    buckets: int = hyperparameter(256, minimum=1, maximum=1_000_000, help="How many numbers the text becomes.")

    reads: ClassVar[ColumnKind] = "text"

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        summary = TextSummary()
        for piece in pieces:
            summary.add(piece)
        return {"count": one(summary.count, "int64"), "gaps": one(summary.missing > 0, "uint8")}

    def forms(self) -> dict[str, ArrayForm]:
        return {"count": ArrayForm("int64", 1), "gaps": ArrayForm("uint8", 1)}

    def check(self, learned: Learned) -> None:
        if learned["count"][0] < 0:
            raise ValueError(f"count must be at least 0. Received: {learned['count'][0]}")

    def width(self, learned: Learned) -> int:
        return self.buckets

    def names(self, learned: Learned) -> list[str]:
        return [f"{self.column}[{bucket}]" for bucket in range(self.buckets)]

    def encode(self, column: Column, learned: Learned) -> Encoded:
        starts, places, values = [0], list[Array](), list[Array]()
        known: dict[str, tuple[Array, Array]] = {}
        for text in column.values:
            if text not in known:
                known[text] = self._terms(text)
            found, sums = known[text]
            places.append(found)
            values.append(sums)
            starts.append(starts[-1] + len(found))
        none = np.zeros(0)
        return Sparse(
            np.array(starts), np.concatenate([none.astype(np.int32), *places]), np.concatenate([none, *values])
        )

    def _terms(self, text: str) -> tuple[Array, Array]:
        """The buckets of a text that are not 0, and their numbers."""
        codes = np.fromiter((bucket_of(term, self.buckets) for term in terms_of(text)), np.int64)
        found, inverse = np.unique(codes >> 1, return_inverse=True)
        sums = np.bincount(inverse, weights=1.0 - 2.0 * (codes & 1), minlength=len(found))
        kept = sums != 0
        norm = np.sqrt(np.square(sums).sum()) or 1.0
        return found[kept].astype(np.int32), sums[kept] / norm

    def report(self, column: Column, learned: Learned) -> Report:
        never = np.zeros(len(column.values), bool)
        return Report(column.missing(), never, never)

    def typical(self, learned: Learned) -> Column:
        """An empty text, which is 0 everywhere."""
        return Column("text", np.array([""], object))

    def describe(self, learned: Learned) -> dict[str, Any]:
        return {}


def terms_of(text: str) -> Iterator[str]:
    """The words of a text in lower case, and the 3-grams of each word with a space before and behind it."""
    for word in _WORD.findall(text.lower()):
        yield word
        padded = f" {word} "
        for start in range(len(padded) - _N + 1):
            yield padded[start : start + _N]


@lru_cache(maxsize=65_536)
def bucket_of(term: str, buckets: int) -> int:
    """Twice the bucket of a term, plus 1 if it counts negatively: from the CRC-32 of its UTF-8 bytes."""
    code = zlib.crc32(term.encode())
    # The lowest bit is the sign; the others, mixed by a multiplication (Knuth), choose the bucket.
    mixed = ((code >> 1) * 2_654_435_761) & 0xFFFF_FFFF
    return (mixed * buckets >> 32) << 1 | code & 1
