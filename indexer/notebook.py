"""What a notebook shows: a bar of progress, and collections and hits as HTML with pictures."""

import base64
import html
import io
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from embeddings.files.characters import visible
from embeddings.images.containers.names import array_of
from embeddings.images.decode import decode
from embeddings.images.decoding import ArrayFrame, Decoding
from embeddings.images.errors import ImageError
from embeddings.types import GreyImage

if TYPE_CHECKING:
    from indexer.collection import Collection
    from indexer.hits import Hit

SHOWN = 20  # hits with pictures
_SIDE = 96  # pixels of a picture's longer side, at most
_EVERY = 0.2  # seconds between two states of a bar


class Bar:
    """Progress as a bar in the output of a Jupyter cell, one for each stage; nothing anywhere else.

    Called with stage, done, total, as `indexer.build.build.Progress`.
    """

    def __init__(self) -> None:
        self._stage, self._done, self._shown = "", 0, 0.0
        self._handle: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw it, but not too often."""
        if not in_notebook():
            return
        shown = import_module("IPython.display")
        now, anew = time.monotonic(), self._handle is None or stage != self._stage or done < self._done
        self._stage, self._done = stage, done
        if not anew and done < total and now - self._shown < _EVERY:
            return
        self._shown = now
        text = f'<progress value="{done}" max="{max(total, 1)}"></progress> {escaped(stage)}: {done:,} of {total:,}'
        if anew:
            self._handle = shown.display(shown.HTML(text), display_id=True)
        else:
            self._handle.update(shown.HTML(text))


_bar = Bar()


def in_cells(stage: str, done: int, total: int) -> None:
    """A bar in a notebook, nothing elsewhere: the default of whatever takes long and may be called from one."""
    _bar(stage, done, total)


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook; IPython is not imported to find out."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def escaped(text: str) -> str:
    """A file's name as HTML."""
    return html.escape(visible(text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of cells that are HTML."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def collection_html(collection: "Collection") -> str:
    """What a collection holds."""
    manifest = collection.manifest
    rows = [
        [escaped(name), f"{view.spec.dim:,}", escaped(view.spec.metric), escaped(view.factory), escaped(view.notes)]
        for name, view in manifest.views.items()
    ]
    failed = f", {manifest.failed:,} files unreadable" if manifest.failed else ""
    head = (
        f"<p>collection {escaped(str(collection.folder))}: {len(collection):,} images of {escaped(manifest.source)}{failed}</p>"
    )
    return head + table(["view", "dimensions", "metric", "index", "note"], rows)


def hits_html(hits: Sequence["Hit"], asked: Mapping[str, GreyImage], collection: "Collection | None") -> str:
    """The first hits with their pictures.

    Args:
        hits: all of them.
        asked: name of an image that was looked up -> its pixels.
        collection: where they were found; its images are read again.
    """
    found: dict[int, GreyImage] = {}
    for hit in hits[:SHOWN]:
        if collection is not None and hit.row not in found:
            with suppress(ImageError):  # the file is elsewhere by now, or not what it was
                found[hit.row] = _image(collection, hit.row)
    rows = []
    for before, hit in zip([None, *hits], hits[:SHOWN], strict=False):
        new = before is None or before.image != hit.image
        image = f"{picture(asked.get(hit.image))}<br>{escaped(hit.image)}" if new else ""
        notes = ", ".join(["mirrored"] * hit.mirrored + ["blank: no evidence"] * hit.blank)
        neighbour = f"{picture(found.get(hit.row))}<br>{escaped(hit.name)}"
        rows.append([image, escaped(hit.view), str(hit.rank), neighbour, f"{hit.distance:.4g}", notes])
    more = f"<p>and {len(hits) - SHOWN:,} more</p>" if len(hits) > SHOWN else ""
    return table(["looked up", "view", "rank", "found", "distance", ""], rows) + more


def _image(collection: "Collection", row: int) -> GreyImage:
    """The image of a row, read again from its file.

    Raises:
        ImageError: the file is not there any more, or not what it was.
    """
    entry, path = collection.images.slice(row, 1).to_pylist()[0], collection.path(row)
    alone = ArrayFrame(entry["frame"], entry["mode"]) if array_of(str(path)) else None
    frames = decode(path, Decoding(**collection.manifest.decoding), entry["sha256"], frame=alone)
    found = next(frame for number, frame in enumerate(frames) if alone or number == entry["frame"])
    return collection.manifest.orientation.apply(found.pixels)


def picture(pixels: GreyImage | None) -> str:
    """A small PNG in HTML; a note where there is none."""
    if pixels is None:
        return "(no picture)"
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    image.save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
