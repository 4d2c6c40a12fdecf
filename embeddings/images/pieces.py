"""The files that hold the content of one image: the image file itself, and the data file that lies beside its header."""

import re
from pathlib import Path

from embeddings.images.decoding import VOLUME_SUFFIXES
from embeddings.images.errors import BadPixels, printable
from embeddings.images.pairs import voxels_of

_HEADER = 1 << 16  # bytes that a header is looked for in
_META, _NRRD = re.compile(rb"(?m)^[ \t]*ElementDataFile[ \t]*=(.*)$"), re.compile(rb"(?mi)^data ?file:(.*)$")


def pieces(path: Path) -> tuple[Path, ...]:
    """The file, and the data file that a MetaImage or NRRD header names, or the voxels of a pair; together they are the content.

    Raises:
        BadPixels: the header names a file in another folder, or several.
        OSError: the header cannot be read.
    """
    if (voxels := voxels_of(str(path))) is not None:
        return path, Path(voxels)
    if not path.name.lower().endswith(VOLUME_SUFFIXES):
        return (path,)
    with open(path, "rb") as file:
        head = file.read(_HEADER)
    if head.startswith(b"NRRD"):
        named = _NRRD.findall(re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0])
    else:
        named = [name for name in _META.findall(head)[:1] if name.strip().upper() != b"LOCAL"]
    if not named:
        return (path,)
    name = named[0].strip().decode("utf-8", "surrogateescape")
    if len(named) > 1 or not name or name.split()[0].upper() == "LIST" or "%" in name:
        raise BadPixels("its data lie in several files: convert it to one .mha, .nrrd or .nii")
    if "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise BadPixels(f"its data lie in another folder ({printable(name)}), which is not followed")
    return path, path.with_name(name)
