"""Image files in zip and tar archives, read in place. Nothing is unpacked to disk, no link is followed."""

import hashlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO, BinaryIO

from embeddings.images.containers.members import BATCH, BATCH_BYTES, MEMBERS, Member, NoArray
from embeddings.images.containers.names import NESTED, leads_out
from embeddings.images.decoding import DICOM_HEAD, SUFFIXES, Decoding, is_dicom
from embeddings.images.errors import BadPixels, ImageError, TooManyPixels, Truncated, Unreadable, printable

_UNPACKED = 100  # times the size of the archive: what all members of a zip may take together
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, struct.error)
_LOCAL_HEADER = 30  # bytes at least before a member of a zip
_BLOCK = 512  # of a tar; zeros mark its end


class _Archive(NoArray):
    """What zip and tar share: which members are images, and their hashes."""

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        self._file, self._decoding = file, decoding

    def close(self) -> None:
        """As `Container.close`."""
        self._file.close()

    def members(self) -> Iterator[Sequence[Member]]:
        """As `Container.members`."""
        batch: list[Member] = []
        size = 0
        for name, wrong in self._names():
            member = self._member(name, wrong)
            if member is None:
                continue
            batch.append(member)
            size += member.size
            if len(batch) == BATCH or size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch

    def _names(self) -> Iterator[tuple[str, str]]:
        """Name of each member that is a file or a link, and why it is not read."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """As `Container.read`."""
        raise NotImplementedError

    def _head(self, name: str) -> bytes:
        """The first bytes of a member."""
        raise NotImplementedError

    def _member(self, name: str, wrong: str) -> Member | None:
        """What becomes of a member."""
        parts = name.lower().split("/")
        if leads_out(name):
            return Member(f"(member) {name.replace('/', '|')}"[:200], error="its name leads out of the archive")
        if any(part.startswith(".") or part == "__macosx" for part in parts) or parts[-1] == "dicomdir":
            return Member(name, ignored=True)
        if parts[-1].endswith(NESTED):
            return Member(name, error="an archive inside an archive is not read: unpack the outer one")
        suffix = parts[-1].rpartition(".")[2] if "." in parts[-1] else ""
        try:
            suffixless = not suffix or suffix.isdigit()  # as in `embeddings.images.find`
            if not parts[-1].endswith(SUFFIXES) and (wrong or not suffixless or not is_dicom(self._head(name))):
                return Member(name, ignored=True)
            if wrong:
                return Member(name, error=wrong)
            data = self.read(name)
        except ImageError as error:
            return Member(name, error=str(error))
        return Member(name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


class Zip(_Archive):
    """A zip archive.

    Raises:
        ImageError: it is damaged, or made to unpack without end.
    """

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        super().__init__(file, decoding)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
            raise Truncated(f"cut short or damaged: {error}") from error
        _check_zip(self._zip.infolist(), file.seek(0, 2), decoding)
        self._infos = {printable(info.filename): info for info in self._zip.infolist() if not info.is_dir()}

    def _names(self) -> Iterator[tuple[str, str]]:
        for name, info in self._infos.items():
            yield name, self._wrong(info) or self._large(info)

    def _wrong(self, info: zipfile.ZipInfo) -> str:
        if info.flag_bits & 1:
            return "it is encrypted: unpack the archive with its password"
        if info.external_attr >> 16 & 0o170000 == 0o120000:
            return "a link inside an archive is not followed"
        if info.compress_type not in _METHODS:
            return f"its compression (method {info.compress_type}) is not read: unpack it"
        return ""

    def _large(self, info: zipfile.ZipInfo) -> str:
        return _too_large(info.file_size, self._decoding) if info.file_size > self._decoding.memory else ""

    def names(self) -> list[str]:
        """Of all files in the archive."""
        return list(self._infos)

    def part_reader(self, name: str) -> tuple[Callable[[int, int], bytes], int]:
        """What reads so many bytes of a file in the archive from an offset, and how many it has.

        Without compression they are read from their place; otherwise by unpacking all that come before.

        Raises:
            ImageError: it is not there, or cannot be read.
        """
        info = self._info(name)
        if info.compress_type == zipfile.ZIP_STORED:
            self._file.seek(info.header_offset)
            names = self._file.read(_LOCAL_HEADER)[26:30]
            start = info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", names) if len(names) == 4 else (0, 0))
            return partial(_stored_part, self._file, start, info.file_size), info.file_size
        return partial(_packed_part, self._zip.open(info)), info.file_size

    def read(self, name: str) -> bytes:
        """As `Container.read`."""
        return self._part(name, -1)

    def _head(self, name: str) -> bytes:
        return self._part(name, DICOM_HEAD)

    def _part(self, name: str, count: int) -> bytes:
        info = self._info(name)
        if count < 0 and (large := self._large(info)):
            raise TooManyPixels(large)
        try:
            with self._zip.open(info) as member:
                data = member.read(count)
        except _DAMAGED as error:
            raise Truncated(f"cut short or damaged: {error}") from error
        if count < 0 and len(data) != info.file_size:
            raise Truncated(f"cut short or damaged: {info.file_size} bytes declared, {len(data)} are there")
        return data

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = self._infos.get(name)
        if info is None:
            raise Unreadable("the archive holds no such file")
        if wrong := self._wrong(info):
            raise BadPixels(wrong)
        return info


def _stored_part(file: BinaryIO, start: int, size: int, offset: int, count: int) -> bytes:
    file.seek(start + offset)
    return file.read(max(0, min(count, size - offset)))


def _packed_part(member: IO[bytes], offset: int, count: int) -> bytes:
    try:
        member.seek(offset)
        return member.read(count)
    except _DAMAGED as error:
        raise Truncated(f"cut short or damaged: {error}") from error


def _check_zip(infos: Sequence[zipfile.ZipInfo], size: int, decoding: Decoding) -> None:
    """Members are few enough, do not overlap, and unpack to no more than an archive of pictures would.

    Raises:
        TooManyPixels: they do not.
    """
    if len(infos) > MEMBERS:
        raise TooManyPixels(f"{len(infos)} members, at most {MEMBERS} are read")
    total = sum(info.file_size for info in infos)
    if total > max(_UNPACKED * size, decoding.memory):
        raise TooManyPixels(f"the archive of {size} bytes unpacks to {total}, at most {_UNPACKED} times its size is read")
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise TooManyPixels("members of the archive overlap: it is made to unpack without end")
        end = info.header_offset + _LOCAL_HEADER + info.compress_size


class Tar(_Archive):
    """A tar archive without compression; its headers are read once.

    Raises:
        ImageError: it is no tar archive.
    """

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        super().__init__(file, decoding)
        self._places: dict[str, tuple[int, int]] = {}
        self._errors: dict[str, str] = {}
        self._damage = ""
        self._size = file.seek(0, 2)
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as archive:
                while (info := archive.next()) is not None:
                    vars(archive)["members"].clear()  # or the archive keeps all of them
                    self._add(info)
                file.seek(archive.offset)
                if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes a damaged header for the end
                    self._damage = "cut short or damaged: the archive has no end mark"
        except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
            self._damage = f"cut short or damaged: {error}"
        if self._damage and not self._places:
            raise Truncated(self._damage)

    def _add(self, info: tarfile.TarInfo) -> None:
        name = printable(info.name).removeprefix("./")
        if info.isdir() or info.name in (".", "./"):
            return
        self._errors.pop(name, None)
        if info.issym() or info.islnk():
            self._errors[name] = "a link inside an archive is not followed"
        elif not info.isreg() or info.issparse():
            self._errors[name] = "a special file inside an archive is not read"
        elif info.size > self._decoding.memory:
            self._errors[name] = _too_large(info.size, self._decoding)
        elif info.offset_data + info.size > self._size:
            self._errors[name] = "cut short or damaged: the archive ends before"
        self._places[name] = (info.offset_data, info.size)
        if len(self._places) > MEMBERS:
            raise TooManyPixels(f"more than {MEMBERS} members")

    def members(self) -> Iterator[Sequence[Member]]:
        """As `Container.members`."""
        yield from super().members()
        if self._damage:
            raise Truncated(self._damage)

    def _names(self) -> Iterator[tuple[str, str]]:
        for name in self._places:
            yield name, self._errors.get(name, "")

    def read(self, name: str) -> bytes:
        """As `Container.read`."""
        if name not in self._places:
            raise Unreadable("the archive holds no such file")
        if name in self._errors:
            raise BadPixels(self._errors[name])
        return self._part(*self._places[name])

    def _head(self, name: str) -> bytes:
        start, size = self._places[name]
        return self._part(start, min(size, DICOM_HEAD))

    def _part(self, start: int, count: int) -> bytes:
        self._file.seek(start)
        return self._file.read(count)


def _too_large(size: int, decoding: Decoding) -> str:
    return f"the file has {size // 1_000_000} MB, at most {decoding.memory // 1_000_000} MB are read"
