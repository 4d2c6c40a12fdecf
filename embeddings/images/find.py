"""Find image files in folders, files and lists, and report what is ignored."""

import os
import stat
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from embeddings.files.text import decoded
from embeddings.images.containers.names import COMPRESSED_TARS, CONTAINERS, split
from embeddings.images.decoding import DICOM_HEAD, SUFFIXES, VOLUME_SUFFIXES, is_dicom
from embeddings.images.errors import ImageError, NoImages, error_text, printable
from embeddings.images.pairs import HEADERS, header_of, is_header
from embeddings.images.pieces import pieces

FOUND = (*SUFFIXES, *(suffix for suffix in CONTAINERS if suffix not in SUFFIXES))  # what is taken in folders
_COLLECTION = {"manifest.json", "images.parquet"}  # vectors of images, no images


@dataclass(frozen=True)
class LeftOut:
    """Files that are left aside because of their names.

    Attributes:
        kind: their suffix, ``hidden`` or ``no suffix``.
        count: how many.
        example: relative path of the first, made printable.
    """

    kind: str
    count: int
    example: str


def left_out(names: Iterable[str]) -> tuple[LeftOut, ...]:
    """The names by kind, most frequent first."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in names:
        base = name.rpartition("/")[2].lower()
        hidden = base.startswith(".") or "/." in name or "__macosx" in name.lower()
        kinds["hidden" if hidden else f".{base.rpartition('.')[2]}" if "." in base else "no suffix"].append(name)
    found = [LeftOut(printable(kind), len(of), printable(min(of))) for kind, of in kinds.items()]
    return tuple(sorted(found, key=lambda kind: (-kind.count, kind.kind)))


@dataclass(frozen=True)
class Source:
    """What the user pointed at.

    Attributes:
        root: absolute folder that the names are relative to: the folder given, or the common parent of all inputs.
        files: POSIX paths relative to root, sorted by code point, unique. A name that is not valid UTF-8 keeps
            Python's surrogate escapes, so that ``root / name`` opens it; `printable` makes it fit to store or show.
        left_out: files (and hidden folders and collections, unopened) left aside because of their names, by kind.
        broken: (relative path made printable, reason) of what could not be looked at: unreadable folder, link loop, missing
            listed file, a device with an image's name.
        base: folder, relative to root, that names are relative to where a file lies in it: further images do not change the
            names of the first ones. Empty for root.
    """

    root: Path
    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    broken: tuple[tuple[str, str], ...]
    base: str = ""

    def name(self, path: str) -> str:
        """The name of the file at a path relative to root, as the system has it."""
        return path.removeprefix(f"{self.base}/") if self.base else path

    @property
    def paths(self) -> dict[str, Path]:
        """Name in a collection -> file: a name that is not valid UTF-8 cannot be turned back."""
        return {printable(name): self.root / name for name in self.files}

    @property
    def ignored(self) -> int:
        """How many files are left aside."""
        return sum(kind.count for kind in self.left_out)

    def with_ignored(self, names: Sequence[str]) -> "Source":
        """The same, with these names left aside too."""
        counts = {kind.kind: kind for kind in self.left_out}
        for more in left_out(names):
            old = counts.get(more.kind)
            counts[more.kind] = more if old is None else replace(old, count=old.count + more.count)
        return replace(self, left_out=tuple(sorted(counts.values(), key=lambda kind: (-kind.count, kind.kind))))


def several(images: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One path as a list of one: a string is no list of characters."""
    return [images] if isinstance(images, str | Path) else list(images)


def find(*inputs: str | Path | Source, further: Sequence[str | Path] = (), stdin: TextIO | None = None) -> Source:
    """The images that the inputs name.

    Args:
        inputs: folders (searched recursively, links followed), image files, ``@list.txt`` for a list file, ``-`` for a list on
            standard input. A list has one path a line, relative to the list's folder or to the working folder; blank lines
            do not count; UTF-16 is read too. A file that is named is taken whatever its suffix; in folders, `FOUND` in any case,
            DICOM files without suffix (or with a UID for a name) and headers of NIfTI pairs are taken. One image in an archive is
            named by its path (``archive.zip/member.png``). A file really named ``@x`` is given as ``./@x``.
            A single `Source` is what was found before, and comes back.
        further: more inputs, which do not change the names of the images that are found without them, see `Source.base`.
        stdin: what ``-`` reads instead of standard input.

    Raises:
        NoImages: an input does not exist, or there is no image and nothing broken either.
    """
    if len(inputs) == 1 and isinstance(inputs[0], Source):
        return inputs[0]
    search = _Search()
    first = [os.fspath(path) for path in inputs if not isinstance(path, Source)]
    paths = [*first, *(os.fspath(path) for path in further)]
    for number, given in enumerate(paths):
        if number == len(first):
            search.first = list(search.roots)
        if given == "-":
            search.add_lines(_text(stdin or sys.stdin), os.getcwd())
        elif given.startswith("@"):
            search.add_lines(_list_text(given[1:]), os.path.dirname(os.path.abspath(given[1:])))
        elif not os.path.lexists(given) and not split(os.path.abspath(given)):
            mend = "; images are read from folders here: copy them first" if "://" in given else ""
            raise NoImages(f"{printable(given)}: no such file or folder{mend}")
        else:
            search.add(os.path.abspath(given))
    if not search.files and not search.broken:
        asked = ", ".join(map(printable, paths)) or "no folder or file was given"
        raise NoImages(
            f"{asked}: no image found among {len(search.ignored)} other files; looked for {' '.join(FOUND)} "
            "in any case, and for DICOM files without suffix"
        )
    return search.source()


class _Search:
    """Absolute paths found so far, by fate."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.ignored: set[str] = set()
        self.broken: dict[str, str] = {}
        self.roots: list[str] = []
        self.first: list[str] = []  # those of inputs that name images, where there are further ones

    def add_lines(self, text: str, folder: str) -> None:
        """Every line of a list, relative to the folder."""
        self.roots.append(folder)
        for line in text.split("\n"):
            if line := line.removesuffix("\r"):
                self.add(os.path.abspath(os.path.join(folder, line)))

    def add(self, path: str) -> None:
        """A path that somebody named: never left aside."""
        is_folder = os.path.isdir(path)
        self.roots.append(path if is_folder else os.path.dirname(path))
        try:
            path = header_of(path) or path
            if is_folder:
                self.walk(path)
            elif split(path) or stat.S_ISREG(os.stat(path).st_mode):
                self.files.add(path)
            else:
                self.broken[path] = "not a regular file"
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            self.broken[path] = error_text(error, path)

    def walk(self, top: str) -> None:
        """All below a folder. A link back to a folder that is being searched is broken; one to elsewhere is followed."""
        stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [(top, ())]
        while stack:
            folder, above = stack.pop()
            try:
                status = os.stat(folder)
                here = (status.st_dev, status.st_ino)
                if here in above:
                    self.broken[folder] = "link loop: leads back to a folder that it lies in"
                    continue
                with os.scandir(folder) as scanned:
                    entries = list(scanned)
                if {entry.name for entry in entries} >= _COLLECTION:
                    self.ignored.add(folder)
                    continue
                stack.extend((entry.path, (*above, here)) for entry in entries if self.sort_entry(entry))
            except OSError as error:
                self.broken[folder] = error_text(error, folder)

    def sort_entry(self, entry: os.DirEntry[str]) -> bool:
        """Put a folder's entry where it belongs; True where it is a folder to search."""
        name = entry.name.lower()
        image = name.endswith(FOUND)
        if name.startswith(".") or name in ("__macosx", "dicomdir"):  # a DICOMDIR is an index without pixels
            self.ignored.add(entry.path)
            return False
        suffix = name.rpartition(".")[2] if "." in name else ""
        suffixless = not suffix or suffix.isdigit()  # DICOM files are often named by a UID: 1.2.840.113619
        try:
            if entry.is_dir():
                return True
            if not entry.is_file():
                if image or suffixless:
                    os.stat(entry.path)  # says why a link leads nowhere
                if image:
                    self.broken[entry.path] = "not a regular file"
                    return False
            elif name.endswith(COMPRESSED_TARS):
                self.broken[entry.path] = "a compressed tar can only be read from its start: uncompress it to .tar, or unpack it"
                return False
            elif image or (suffixless and _is_dicom(entry.path)) or is_header(entry.path):
                self.files.add(entry.path)
                return False
            self.ignored.add(entry.path)
        except OSError as error:
            self.broken[entry.path] = error_text(error, entry.path)
        return False

    def data_files(self) -> set[str]:
        """Files that belong to the headers that were found."""
        belonging: set[str] = set()
        for path in self.files:
            if path.lower().endswith((*VOLUME_SUFFIXES, *HEADERS)):
                with suppress(OSError, ImageError):  # whoever decodes the header says why
                    belonging.update(map(str, pieces(Path(path))[1:]))
        return belonging

    def source(self) -> Source:
        """All of it, relative to the common parent."""
        root = os.path.commonpath(self.roots)
        start = len(root.rstrip(os.sep)) + 1

        def relative(path: str) -> str:
            return path[start:].replace(os.sep, "/") or "."

        files = tuple(sorted(map(relative, self.files)))
        base = relative(os.path.commonpath(self.first)) if self.first else "."
        clash = {name.removeprefix(f"{base}/") for name in files if name.startswith(f"{base}/")} & set(files)
        return Source(
            root=Path(root),
            files=files,
            left_out=left_out(relative(path) for path in self.ignored - self.files - self.data_files()),
            broken=tuple(sorted((printable(relative(path)), reason) for path, reason in self.broken.items())),
            base="" if base == "." or clash else base,
        )


def _text(stream: TextIO) -> str:
    """All of a stream; from its bytes where it has them, so that names that are not UTF-8 survive."""
    raw = getattr(stream, "buffer", None)
    return stream.read() if raw is None else decoded(raw.read())


def _list_text(path: str) -> str:
    try:
        return decoded(Path(path).read_bytes())
    except (OSError, UnicodeError) as error:
        raise NoImages(f"{printable(path)}: the list of images cannot be read: {error_text(error, path)}") from error


def _is_dicom(path: str) -> bool:
    with open(path, "rb") as file:
        return is_dicom(file.read(DICOM_HEAD))
