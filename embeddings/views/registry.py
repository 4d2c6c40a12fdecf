"""Registry of the views by name; imports a view's libraries when the view is first used."""

from collections.abc import Mapping
from typing import Any

from embeddings.errors import SynthtraceError
from embeddings.images.decoding import Decoding
from embeddings.types import View

# name -> options and their defaults, as the settings of each view document them
VIEWS: Mapping[str, Mapping[str, Any]] = {
    # 256-bit perceptual hash: exact and nearly exact copies, in microseconds
    "phash": {"bits": 256},
    # a network that was trained to recognise copies: changes of the whole image, mixtures of several
    "resnet": {"architecture": "resnet18", "weights": "bundled", "size": 144},
    # grey levels, small: what a generator that copies no single image keeps of its training set
    "pixels": {"size": 64},
    # local features over a vocabulary: copies that were bent, blurred or mixed with others
    "sift": {"encoding": "vlad", "words": 128, "position": 0.6},
}


class UnknownView(SynthtraceError, ValueError):
    """A name or option that no view has; the message lists those there are."""


def with_defaults(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options of the chosen views, each completed by its defaults.

    Raises:
        UnknownView: a view or an option that is not in `VIEWS`.
    """
    complete = {}
    for name, given in options.items():
        if name not in VIEWS:
            raise UnknownView(f"no view is called {name!r}; there are {', '.join(VIEWS)}")
        for option in given:
            if option not in VIEWS[name]:
                raise UnknownView(f"view {name} has no option {option!r}; there are {', '.join(VIEWS[name])}")
        complete[name] = {**VIEWS[name], **given}
    return complete


def make_view(name: str, options: Mapping[str, Any], decoding: Decoding, device: str) -> View:
    """The view of this name with these options (see `with_defaults`), on ``cpu`` or ``cuda:N``.

    Raises:
        UnknownView: no such view.
        ValueError: an option has no sense.
    """
    pixels = decoding.as_dict()
    if name == "phash":
        from embeddings.views.phash import PHash

        return PHash(decoding=pixels, **options)
    if name == "resnet":
        from embeddings.views.resnet import ResNet, ResNetSettings

        return ResNet(ResNetSettings(**options), pixels, device)
    if name == "pixels":
        from embeddings.views.pixels import Pixels, PixelSettings

        return Pixels(PixelSettings(**options), pixels)
    if name == "sift":
        from embeddings.views.sift import Encoding, Sift, SiftSettings

        return Sift(SiftSettings(**{**options, "encoding": Encoding(options["encoding"])}), pixels)
    raise UnknownView(f"no view is called {name!r}; there are {', '.join(VIEWS)}")
