"""Images to vectors: decode, then embed by each view. Read types.py first."""

from typing import TYPE_CHECKING

from embeddings.lazy import lazily

if TYPE_CHECKING:
    from embeddings.errors import SynthtraceError as SynthtraceError
    from embeddings.images.decode import decode as decode
    from embeddings.images.decoding import Decoding as Decoding
    from embeddings.images.decoding import Frame as Frame
    from embeddings.images.errors import ImageError as ImageError
    from embeddings.images.find import find as find
    from embeddings.types import Embedder as Embedder
    from embeddings.types import Embeddings as Embeddings
    from embeddings.types import EmbeddingSpec as EmbeddingSpec
    from embeddings.types import Metric as Metric
    from embeddings.views.registry import VIEWS as VIEWS
    from embeddings.views.registry import make_view as make_view

__version__ = "0.1.0"
_HOMES = {  # imported when they are first used: start-up stays fast
    "SynthtraceError": "embeddings.errors",
    "Embeddings": "embeddings.types",
    "EmbeddingSpec": "embeddings.types",
    "Embedder": "embeddings.types",
    "Metric": "embeddings.types",
    "decode": "embeddings.images.decode",
    "Decoding": "embeddings.images.decoding",
    "Frame": "embeddings.images.decoding",
    "ImageError": "embeddings.images.errors",
    "find": "embeddings.images.find",
    "VIEWS": "embeddings.views.registry",
    "make_view": "embeddings.views.registry",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
