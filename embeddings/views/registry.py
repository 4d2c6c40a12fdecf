"""Registry of the views by name; imports a view's libraries when the view is first used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from embeddings.errors import SynthtraceError
from embeddings.images.decoding import Decoding
from embeddings.types import View

Options = Mapping[str, Any]
Maker = Callable[[Options, Mapping[str, Any], str], View]  # complete options, decoding as a dictionary, device -> view


class UnknownView(SynthtraceError, ValueError):
    """A name or option that no view has; the message lists those there are."""


@dataclass(frozen=True)
class Registered:
    """A view by name.

    Attributes:
        options: with their defaults, as the settings of the view document them.
        make: the view with complete options, for pixels of that decoding, on that device.
        learns: whether it learns anything from images, see `embeddings.types.View.fit`.
    """

    options: Options
    make: Maker
    learns: bool = True


def _phash(options: Options, decoding: Mapping[str, Any], device: str) -> View:
    if device != "cpu":
        from embeddings.gpu.phash import GpuPHash

        return GpuPHash(decoding=decoding, device=device, **options)
    from embeddings.views.phash import PHash

    return PHash(decoding=decoding, **options)


def _resnet(options: Options, decoding: Mapping[str, Any], device: str) -> View:
    from embeddings.views.resnet import ResNet
    from embeddings.views.resnet_settings import ResNetSettings

    if device != "cpu":
        from embeddings.gpu.resnet import GpuResNet

        return GpuResNet(ResNetSettings(**options), decoding, device)
    view = ResNet(ResNetSettings(**options), decoding)
    if not view.is_light:
        import_module("embeddings.views.network")  # now: threads that compute are limited when they start
    return view


def _pixels(options: Options, decoding: Mapping[str, Any], device: str) -> View:
    from embeddings.views.pixels import Pixels, PixelSettings

    if device != "cpu":
        from embeddings.gpu.pixels import GpuPixels

        return GpuPixels(PixelSettings(**options), decoding, device)
    return Pixels(PixelSettings(**options), decoding)


def _sift(options: Options, decoding: Mapping[str, Any], device: str) -> View:
    from embeddings.views.sift import Encoding, Sift, SiftSettings

    settings = SiftSettings(**{**options, "encoding": Encoding(options["encoding"])})
    if device != "cpu":
        from embeddings.gpu.sift import GpuSift

        return GpuSift(settings, decoding, device)
    return Sift(settings, decoding)


_REGISTERED = {
    # 256-bit perceptual hash: exact and nearly exact copies, in microseconds
    "phash": Registered({"bits": 256}, _phash, learns=False),
    # a network that was trained to recognise copies: changes of the whole image, mixtures of several
    "resnet": Registered({"architecture": "resnet18", "weights": "bundled", "size": 144}, _resnet),
    # grey levels, small: what a generator that copies no single image keeps of its training set
    "pixels": Registered({"size": 64}, _pixels),
    # local features over a vocabulary: copies that were bent, blurred or mixed with others
    "sift": Registered({"encoding": "vlad", "words": 128, "position": 0.6, "keep": True}, _sift),
}
VIEWS: Mapping[str, Options] = {name: view.options for name, view in _REGISTERED.items()}  # those of the package: the default


def register(name: str, options: Options, make: Maker) -> None:
    """Make a view of one's own known in this process; it is used where settings name it.

    Args:
        name: not yet taken.
        options: with their defaults.
        make: see `Registered`.

    Raises:
        ValueError: the name is taken.
    """
    if name in _REGISTERED:
        raise ValueError(f"there is a view called {name!r} already")
    _REGISTERED[name] = Registered(dict(options), make)


def registered(name: str) -> Registered:
    """The view of this name.

    Raises:
        UnknownView: no such view.
    """
    if name not in _REGISTERED:
        raise UnknownView(f"no view is called {name!r}; there are {', '.join(_REGISTERED)}")
    return _REGISTERED[name]


def learns(name: str) -> bool:
    """Whether the view of this name learns anything from images.

    Raises:
        UnknownView: no such view.
    """
    return registered(name).learns


def with_defaults(options: Mapping[str, Options]) -> dict[str, dict[str, Any]]:
    """Options of the chosen views, each completed by its defaults.

    Raises:
        UnknownView: a view or an option that is not there.
    """
    complete = {}
    for name, chosen in options.items():
        defaults = registered(name).options
        for option in chosen:
            if option not in defaults:
                raise UnknownView(f"view {name} has no option {option!r}; there are {', '.join(defaults)}")
        complete[name] = {**defaults, **chosen}
    return complete


def make_view(name: str, options: Options, decoding: Decoding, device: str) -> View:
    """The view of this name with these options (see `with_defaults`), on ``cpu``, ``cuda:N`` or ``cuda:all``.

    Raises:
        UnknownView: no such view.
        ValueError: an option has no sense.
    """
    return registered(name).make(options, decoding.as_dict(), device)
