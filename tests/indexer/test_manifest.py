"""The manifest: what is written is read, and nothing else is."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embeddings.images.orientation import Orientation
from embeddings.types import EmbeddingSpec, Metric
from indexer.manifest import FORMAT, NAME, CollectionError, Manifest, ViewEntry, check

SPEC = EmbeddingSpec("phash", 256, Metric.HAMMING, {"decoding": {"low": 0.5, "centre": None}})
MANIFEST = Manifest(
    source="/somewhere/Bilder ü",
    images=3,
    failed=1,
    ignored=0,
    left_out=[],
    orientation=Orientation.AS_IS,
    salt="",
    decoding={"low": 0.5},
    sample={"size": 2000, "seed": 0},
    index={"factory": "Flat"},
    views={"phash": ViewEntry(SPEC, {"bits": 256}, "", "float64", "BFlat", 1.0)},
    versions={"numpy": "2"},
    files={"a.txt": hashlib.sha256(b"a").hexdigest(), "phash/b.txt": hashlib.sha256(b"b").hexdigest()},
)


def written(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / NAME).read_text())
    return values


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for manifest in (MANIFEST, replace(MANIFEST, images=0, views={"phash": replace(MANIFEST.views["phash"], recall=None)})):
        manifest.write(tmp_path)
        assert Manifest.read(tmp_path) == manifest
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_the_fingerprint_and_the_format_stand_in_it(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert written(tmp_path)["format_version"] == FORMAT
    assert written(tmp_path)["views"]["phash"]["fingerprint"] == SPEC.fingerprint


def test_without_a_manifest_the_folder_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"is no collection .*; make one with synthtrace index"):
        Manifest.read(tmp_path)
    with pytest.raises(CollectionError, match="is no collection"):
        Manifest.read(tmp_path / "missing")
    (tmp_path / "parts").mkdir()
    with pytest.raises(CollectionError, match="is an unfinished collection; run synthtrace index again"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("version", [0, FORMAT + 1, "1", None])
def test_another_format_is_refused_by_name(version: object, tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    (tmp_path / NAME).write_text(json.dumps({**written(tmp_path), "format_version": version}))
    with pytest.raises(CollectionError, match=f"has format {version}, this synthtrace reads format {FORMAT}"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"name": "some web app", "version": 3}', "\xff"])
def test_what_is_no_manifest_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(CollectionError) as caught:
        Manifest.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    data = (tmp_path / NAME).read_bytes()
    for place in range(len(data)):
        if data[place] in b" \n":  # layout says nothing
            continue
        (tmp_path / NAME).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(CollectionError):
            Manifest.read(tmp_path)


def test_a_missing_entry_is_noticed(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    values = written(tmp_path)
    for name in values:
        (tmp_path / NAME).write_text(json.dumps({key: value for key, value in values.items() if key != name}))
        with pytest.raises(CollectionError):
            Manifest.read(tmp_path)


def test_files_are_checked(tmp_path: Path) -> None:
    (tmp_path / "phash").mkdir()
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "phash" / "b.txt").write_bytes(b"b")
    assert check(tmp_path, MANIFEST) == []
    (tmp_path / "phash" / "b.txt").write_bytes(b"B")
    (tmp_path / "a.txt").unlink()
    problems = check(tmp_path, MANIFEST)
    assert problems == [
        f"{tmp_path}/a.txt: No such file or directory",
        f"{tmp_path}/phash/b.txt: its bytes have changed since it was written",
    ]
    assert check(tmp_path, MANIFEST, ["a.txt"]) == problems[:1]
    (tmp_path / "c.txt").touch()
    assert check(tmp_path, MANIFEST, ["c.txt"])  # a file that the manifest does not know


DEEP = ["[" * 200_000, '{"a":' * 200_000, "[" * 200_000 + "]" * 200_000]


@pytest.mark.parametrize("text", [*DEEP, "9" * 10_000, "", "null", "[]", "NaN", '""'])
def test_any_text_is_a_damaged_manifest_at_most(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(CollectionError, match="build the collection again"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        *({"images": "3"}, {"images": True}, {"files": []}, {"source": None}, {"orientation": "upside-down"}, {"versions": 7}),
        *({"files": {name: "0" * 64}} for name in ("/etc/passwd", "../outside", "phash/../../outside")),
    ],
)
def test_a_manifest_with_a_right_checksum_is_not_trusted_either(change: dict[str, Any], tmp_path: Path) -> None:
    """Whoever makes a collection for others to download makes its checksum too."""
    replace(MANIFEST, **change).write(tmp_path)
    with pytest.raises(CollectionError, match="is damaged"):
        Manifest.read(tmp_path)
