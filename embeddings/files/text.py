"""Decode text files that people made, in whatever encoding their program wrote."""

import codecs

_MARKS = {  # byte order mark -> encoding; that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SAMPLE = 4096  # bytes looked at


def decoded(raw: bytes, encoding: str | None = None) -> str:
    """The text of a file.

    Args:
        raw: its bytes.
        encoding: a codec of Python's. None: as the byte order mark says; UTF-16 where every other byte is zero; else UTF-8, in
            which bytes that are not valid become surrogate escapes, as in names of files.

    Raises:
        UnicodeError: it is not of this encoding.
    """
    if encoding is None:
        found = _found(raw)
        return raw.decode(found, "surrogateescape" if found.startswith("utf-8") else "strict")
    return raw.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)


def is_text_encoding(name: str) -> bool:
    """Whether Python decodes text by a codec of this name."""
    try:
        b"0".decode(name)
    except UnicodeError:
        return True
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return False
    return True


def _found(raw: bytes) -> str:
    marked = next((encoding for mark, encoding in _MARKS.items() if raw.startswith(mark)), None)
    if marked:
        return marked
    sample = raw[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > len(sample) / 4 and min(even, odd) < max(even, odd) / 10:
        return "utf-16-be" if even > odd else "utf-16-le"
    return "utf-8"
