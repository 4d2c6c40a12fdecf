"""Errors of image files, one class for each reason."""

from embeddings.errors import SynthtraceError
from embeddings.extras import installing


class ImageError(SynthtraceError):
    """An image cannot be used. The text is the reason in one line, without the path; ``mend`` says what would help."""

    mend = ""


class EmptyFile(ImageError):
    """The file has no bytes."""

    mend = "copy the file again"


class NotAnImage(ImageError):
    """The content is not that of any image format read here, whatever the name says."""

    mend = "remove the file, or convert it to PNG"


class Truncated(ImageError):
    """The file starts as an image but is cut short or damaged."""

    mend = "copy the file again"


class TooManyPixels(ImageError):
    """The file, its pictures or their number are larger than allowed, or decoding needs more memory than there is."""

    mend = "raise max_pixels if the file is to be trusted"


class Unreadable(ImageError):
    """The file cannot be read: no permission, vanished, a link loop, not a regular file."""

    mend = "check the path and its permissions"


class Missing(Unreadable):
    """The file is not where it was when it was indexed."""


class MissingFolder(Missing):
    """The folder of all images is not where it was; the text names it and the command that says where it is."""


class MissingExtra(ImageError):
    """The format needs packages that are not installed; the text names the pip extra."""

    mend = installing("medical")


class BadPixels(ImageError):
    """The file is sound, its pixels are of no use: all NaN, no pixel data, an unsupported pixel mode or transfer syntax."""

    mend = "convert the file to 8-bit PNG"


class Altered(ImageError):
    """The file does not hold the bytes any more that were hashed."""

    mend = "index again when nothing writes to the images"


class Crashed(ImageError):
    """The process that decoded the file ended: a decoder crashed, or the system killed it for lack of memory."""

    mend = "convert the file to 8-bit PNG"


class TookTooLong(ImageError):
    """Decoding did not end in time."""

    mend = "convert the file to 8-bit PNG"


class NoImages(SynthtraceError):
    """Nothing was found at all; the text names what was searched and what was looked for."""


def printable(name: str) -> str:
    r"""The name as valid Unicode: bytes that are not UTF-8 are written as ``\xff``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def error_text(error: Exception, path: str) -> str:
    """What an error says, in one printable line without the path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = text.replace(path, "the file") if path else text
    return printable(" ".join(text.split()))[:200] or type(error).__name__
