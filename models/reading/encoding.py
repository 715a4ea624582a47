"""Text of other encodings, found and turned into UTF-8."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator

from models.errors import file_problem
from models.reading.content import chunks_of, write_all

__all__ = ["encoding_of", "is_utf8", "mark_of", "transcode"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Bytes around the first byte that is not UTF-8, from which the encoding is found.
_SAMPLE = 256 * 1024
#: Encodings that are tried, in the order of preference if they fit equally well.
_CANDIDATES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "koi8_r", "shift_jis", "gb18030", "big5", "euc_kr"]


def mark_of(head: bytes) -> str | None:
    """The encoding that a byte order mark at the beginning names, or that the zeros of UTF-16 without a mark show."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    even, odd = head[0:4096:2], head[1:4096:2]
    if len(head) >= 4 and max(even.count(0), odd.count(0)) > 0.3 * len(even):
        if odd.count(0) > 4 * even.count(0):
            return "utf-16-le"
        if even.count(0) > 4 * odd.count(0):
            return "utf-16-be"
    return None


def is_utf8(descriptor: int) -> int | None:
    """None if a whole file is UTF-8, else the position of the first byte that is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    try:
        for chunk in chunks_of(descriptor):
            waiting = len(decoder.getstate()[0])
            decoder.decode(chunk)
            position += len(chunk)
        waiting = len(decoder.getstate()[0])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return position - waiting + error.start
    return None


def encoding_of(descriptor: int, bad: int) -> str:
    """The encoding of a file whose byte at ``bad`` is not UTF-8."""
    from charset_normalizer import from_bytes

    start = max(bad - _SAMPLE // 2, 0)
    sample = os.pread(descriptor, _SAMPLE, start)
    # Whole lines, so that no character is cut in two; ASCII lines would only dilute what decides.
    lines = [line for line in sample.split(b"\n") if not line.isascii()][:2000] or [sample]
    if _is_western(b"\n".join(lines)):
        return "cp1252"
    found = from_bytes(b"\n".join(lines), cp_isolation=_CANDIDATES, threshold=0.4, enable_fallback=False).best()
    return "cp1252" if found is None or "cp1252" in found.could_be_from_charset else found.encoding


#: Signs beside letters that Western texts have.
_SIGNS = set("€‚„…‰‹›‘’“”•–—™¡£¥§©ª«»®°±²³´µ·º¼½¾¿×\u00a0")


def _is_western(content: bytes) -> bool:
    """Whether bytes are words of mostly ASCII letters if they are cp1252. A few of them suffice to tell."""
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return False
    others = [letter for letter in text if letter >= "\x80"]
    letters = sum(map(str.isalpha, others))
    signs_in_words = re.search(r"[A-Za-z][£¥§©®°±²³´µ·¡¿¼½¾×][a-z]", text) is not None
    plain = sum(letter.isascii() and letter.isalpha() for letter in text)
    return all(letter.isalpha() or letter in _SIGNS for letter in others) and plain >= letters and not signs_in_words


def transcode(source: int, into: int, encoding: str, limit: int) -> None:
    """Write the text of a file as UTF-8. Raises InvalidError with the place of bytes that the encoding lacks."""
    decoder = codecs.getincrementaldecoder(encoding)()
    position, line, written, first = 0, 1, 0, True
    try:
        for chunk in _with_end(source):
            text = decoder.decode(chunk or b"", final=not chunk)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            content = text.encode("utf-8", "surrogatepass")
            position, line, written = position + len(chunk), line + text.count("\n"), written + len(content)
            if written > limit:
                raise file_problem(f"must have at most {limit} bytes as UTF-8. Received: more")
            write_all(into, content)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        raise file_problem(
            f"must be {encoding}; another encoding can be named, as in encoding=cp1252. Received: bytes near position "
            f"{position + start} that {encoding} does not have",
            line=line,
        ) from None


def _with_end(source: int) -> Iterator[bytes]:
    """The pieces of a file, then nothing once, at which a decoder reports what is cut short."""
    yield from chunks_of(source)
    yield b""
