"""Images and thumbnails as PNG; thumbnails are cached."""

import io
from collections.abc import Callable

from PIL import Image

from embeddings.types import GreyImage
from query.inputs.reviews import Key
from query.service.backend.cache import Cache

_KEPT = 2000  # at most some 60 KB each


class Thumbnails:
    """Small pictures, by content and size."""

    def __init__(self) -> None:
        self._kept: Cache[bytes] = Cache(_KEPT)

    def png(self, run: int, key: Key, size: int, read: Callable[[], GreyImage]) -> bytes:
        """The picture with its longer side at most `size` pixels.

        Raises:
            ImageError: whatever `read` raises.
        """
        return self._kept.get((run, key, size), lambda: png(read(), size))


def png(pixels: GreyImage, size: int | None = None) -> bytes:
    """(H, W) uint8 as a PNG file, made smaller to `size` where that is given."""
    image = Image.fromarray(pixels)
    if size is not None:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
