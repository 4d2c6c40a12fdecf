"""Read from a DICOM header whose image it is: PatientID, else SeriesInstanceUID."""

from embeddings.images.dicom.header import Header

_KINDS = {"patient": "PatientID", "series": "SeriesInstanceUID"}  # the first that is there counts
_LONGEST = 256  # characters; PatientID has 64 at most, SeriesInstanceUID too


def patient_of(header: Header) -> str:
    """``patient:`` and the PatientID, else ``series:`` and the SeriesInstanceUID, unpadded; empty where both are missing."""
    for kind, keyword in _KINDS.items():
        if text := _text(header, keyword):
            return f"{kind}:{text[:_LONGEST]}"
    return ""


def _text(header: Header, keyword: str) -> str:
    """The value as text, several values as they are written; case counts."""
    value = header.value(keyword)
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("ascii", "replace")
    elif value is not None and not isinstance(value, str) and hasattr(value, "__iter__"):
        value = "\\".join(map(str, value))
    return "" if value is None else str(value).strip(" \0\t\r\n")
