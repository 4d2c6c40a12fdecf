"""Sides: the collections that are compared, with the pixels behind them."""

from dataclasses import dataclass, field

from indexer.collection import Collection
from query.inputs.pictures import Pictures


@dataclass(frozen=True)
class Sides:
    """The real and the generated images.

    Attributes:
        real, generated: their collections, embedded by the same fitted views.
        mirrored: collection of the real images flipped left to right, where flipped copies are looked for.
        real_pixels, generated_pixels: reads their pixels; by default from where the images were indexed.
    """

    real: Collection
    generated: Collection
    mirrored: Collection | None = None
    real_pixels: Pictures = field(default=None)  # type: ignore[assignment]  # set below
    generated_pixels: Pictures = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("real", "generated"):
            if getattr(self, f"{name}_pixels") is None:
                object.__setattr__(self, f"{name}_pixels", Pictures(getattr(self, name)))

    @property
    def failed(self) -> int:
        """Files of both sides that could not be read."""
        return self.real.manifest.failed + self.generated.manifest.failed

    def check_unchanged(self) -> None:
        """See that no file of the collections was changed while results came from them.

        Raises:
            CollectionChanged: one was.
        """
        for collection in filter(None, (self.real, self.generated, self.mirrored)):
            collection.check_unchanged()
