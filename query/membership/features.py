"""Features for trained methods: unwhitened, and in an order that does not depend on file names.

A model is applied to other collections than the one it was fitted on. Their vectors are whitened by other generated images, so
models stand on what the views see before that: `Embedder.features`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embeddings.pipeline import in_order
from embeddings.types import GreyImage
from query.inputs.images import Images
from query.membership.case import USED, Case, MembershipError, Model, Rows

BATCH = 32  # images looked at together; as many as the network takes at a time
_DESCRIPTOR = 128  # bytes of a SIFT descriptor; what the view keeps behind them is the keypoint's place
# What a view does after its features; two collections may differ in these.
_AFTERWARDS = {"learned", "dim", "power", "encoding", "words", "position", "seed"}

Result = TypeVar("Result")


def look(images: Images, rows: Rows, see: Callable[[Sequence[GreyImage]], Result]) -> Iterator[Result]:
    """What `see` makes of these rows, batch by batch in order, on all cores."""
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    return in_order(lambda batch: see([images.read(int(row)) for row in batch]), batches)


def contents(images: Images, rows: Rows) -> list[bytes]:
    """A digest of the pixels of each of these rows."""
    return [digest for part in look(images, rows, lambda batch: [_digest(image) for image in batch]) for digest in part]


def _digest(image: GreyImage) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()


def drawn(images: Images, count: int, seed: int) -> Rows:
    """`count` rows, or all where there are fewer, in an order and by a draw that depend on the pixels alone.

    The task's files were named in the order of their labels, so a method must not depend on names or on the order of its input.
    """
    rows = np.arange(len(images))
    digests = contents(images, rows)
    ordered = np.array(sorted(rows, key=lambda row: digests[row]), np.int64)
    kept = np.random.default_rng(seed).permutation(len(ordered))[:count]
    return ordered[np.sort(kept)]


def labelled(case: Case) -> tuple[Rows, NDArray[np.int64]]:
    """Rows of the labelled real images in an order of their pixels, and whether each was used: 1 or 0.

    Where one picture is there twice with different labels, the label decides.
    """
    rows = case.labelled
    digests = dict(zip(rows.tolist(), contents(case.real, rows), strict=True))
    ordered = np.array(sorted(rows.tolist(), key=lambda row: (digests[row], case.used[row])), np.int64)
    return ordered, (case.used[ordered] == USED).astype(np.int64)


def pooled(images: Images, rows: Rows) -> NDArray[np.float32]:
    """(n, channels) float32: the network's pooled features, neither centred nor whitened."""
    eye = images.embedders["resnet"]
    parts = [np.concatenate(features.values) for features in look(images, rows, eye.features)]
    return np.concatenate(parts).astype(np.float32)


def descriptors(images: Images, rows: Rows) -> list[NDArray[np.float32]]:
    """For each row (m, 128) float32: SIFT descriptors, without the keypoints' places; m may be 0."""
    eye = images.embedders["sift"]
    seen = look(images, rows, eye.features)
    return [values[:, :_DESCRIPTOR].astype(np.float32) for features in seen for values in features.values]


def sight(case: Case, views: Sequence[str]) -> dict[str, Any]:
    """What decides these views' features: JSON-able, for `Model.facts`.

    Raises:
        MembershipError: a view is not there, or sees real and generated images in different ways.
    """
    found = {}
    for view in views:
        if view not in case.real.embedders or view not in case.generated.embedders:
            raise MembershipError(f"view {view} is needed and a collection lacks it: index both with view {view}")
        found[view], generated = (_settings(side.embedders[view].spec.parameters) for side in (case.real, case.generated))
        _compare(view, found[view], generated, "of the real images and those of the generated ones")
    return found


def same_sight(case: Case, model: Model) -> None:
    """Refuse a model that was fitted on other features than this case has.

    Raises:
        MembershipError: names the view and the setting.
    """
    fitted = model.facts["features"]
    here = sight(case, sorted(fitted))
    for view, settings in fitted.items():
        _compare(view, here[view], settings, f"here and those that this {model.method} model was fitted on")


def _settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in parameters.items() if name not in _AFTERWARDS}
    settings: dict[str, Any] = json.loads(json.dumps(kept))  # as a model's facts come back from a file
    return settings


def _compare(view: str, here: Mapping[str, Any], there: Mapping[str, Any], whose: str) -> None:
    for name in sorted({*here, *there}):
        if here.get(name) != there.get(name):
            differ = f"{name} is {here.get(name)!r} and {there.get(name)!r}"
            raise MembershipError(f"the {view} features {whose} differ, {differ}: index with the same settings, or fit again")


class Eye(Protocol):
    """Where a trained method has the features of images from."""

    @property
    def views(self) -> tuple[str, ...]:
        """Views that the collections must have."""

    def real(self, case: Case, rows: Rows) -> NDArray[np.float32]:
        """(n, c) of these real images."""

    def generated(self, case: Case, count: int) -> NDArray[np.float32]:
        """(m, c) of at most so many generated images, see `drawn`."""

    def facts(self, case: Case) -> dict[str, Any]:
        """What decides the features: JSON-able, for `Model.facts`."""

    def check(self, case: Case, model: Model) -> None:
        """Refuse a model that was fitted on other features; raises MembershipError."""


@dataclass(frozen=True)
class OfResNet:
    """The pooled features of view `resnet`, as the collections were indexed."""

    views = ("resnet",)

    def real(self, case: Case, rows: Rows) -> NDArray[np.float32]:
        """See `Eye`."""
        return pooled(case.real, rows)

    def generated(self, case: Case, count: int) -> NDArray[np.float32]:
        """See `Eye`."""
        return pooled(case.generated, drawn(case.generated, count, case.seed))

    def facts(self, case: Case) -> dict[str, Any]:
        """See `Eye`."""
        return sight(case, self.views)

    def check(self, case: Case, model: Model) -> None:
        """See `Eye`."""
        same_sight(case, model)
