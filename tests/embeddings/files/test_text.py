"""Text that people's programs wrote, against Python's own codecs."""

import codecs

import pytest

from embeddings.files.text import decoded, is_text_encoding

TEXT = "Bild,Größe\r\nä.png,1\r\n" * 3


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (TEXT.encode(), None),
        (codecs.BOM_UTF8 + TEXT.encode(), None),
        (codecs.BOM_UTF8 + TEXT.encode(), "UTF8"),
        (TEXT.encode("utf-16"), None),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), None),
        (TEXT.encode("utf-16-le"), None),
        (TEXT.encode("utf-16-be"), None),
        (TEXT.encode("utf-32"), None),
        (TEXT.encode("cp1252"), "cp1252"),
        (TEXT.encode("mac-roman"), "mac-roman"),
    ],
)
def test_the_text_is_the_same_in_every_encoding(raw: bytes, encoding: str | None) -> None:
    assert decoded(raw, encoding) == TEXT


def test_names_that_are_not_utf_8_survive() -> None:
    assert decoded(b"\xff.png") == "\udcff.png"
    assert decoded(b"a\0b\0longer name.png\0") == "a\0b\0longer name.png\0"  # as of find -print0: no UTF-16
    assert decoded(b"") == ""


def test_another_encoding_is_an_error() -> None:
    with pytest.raises(UnicodeError):
        decoded("ä".encode("cp1252"), "utf-8")
    with pytest.raises(UnicodeError):
        decoded(codecs.BOM_UTF16_LE + b"a")


@pytest.mark.parametrize(("name", "known"), [("cp1252", True), ("UTF-16", True), ("base64", False), ("x\0", False), ("", False)])
def test_encodings_of_text_are_known(name: str, known: bool) -> None:
    assert is_text_encoding(name) is known
