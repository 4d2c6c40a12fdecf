"""Encoded images in the columns of Parquet files, as Hugging Face's `datasets` writes them, read row group by row group."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from embeddings.images.containers.members import BATCH, BATCH_BYTES, MEMBERS, Member, NoArray
from embeddings.images.containers.names import leads_out
from embeddings.images.decoding import SUFFIXES, Decoding
from embeddings.images.errors import BadPixels, NotAnImage, TooManyPixels, Truncated, Unreadable, printable


class Parquet(NoArray):
    """A Parquet file with images in columns of binary type, or of structs of ``bytes`` and ``path``.

    An image is named by its path in the struct, where every row has one and no two the same; by the number of its row elsewhere.
    Where several columns hold images, the name of the column stands before it.

    Raises:
        ImageError: it is no Parquet file, or none of images.
    """

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._decoding, self._stream = decoding, file
        try:
            self._file = pq.ParquetFile(file, pre_buffer=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Truncated(f"cut short or damaged: {' '.join(str(error).split())[:150]}") from error
        if self._file.metadata.num_rows > MEMBERS:
            raise TooManyPixels(f"{self._file.metadata.num_rows} rows, at most {MEMBERS} are read")
        self._group: tuple[int, str, Any] | None = None
        columns = self._columns()
        if not columns:
            raise NotAnImage("the table has no column of images: binary, or a struct of bytes and path")
        self._places: dict[str, tuple[str, int]] = {}
        for column, has_path in columns:
            for row, name in enumerate(self._names(column, has_path)):
                self._places[f"{column}/{name}" if len(columns) > 1 else name] = (column, row)

    def rest(self) -> None:
        """As `Container.rest`."""
        self._group = None

    def close(self) -> None:
        """As `Container.close`."""
        self._file.close()
        self._stream.close()

    def members(self) -> Iterator[Sequence[Member]]:
        """As `Container.members`."""
        batch: list[Member] = []
        size = 0
        for name in self._places:
            batch.append(self._member(name))
            size += batch[-1].size
            if len(batch) == BATCH or size > BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch

    def _member(self, name: str) -> Member:
        try:
            data = self.read(name)
        except (BadPixels, TooManyPixels, Truncated) as error:
            return Member(name, error=str(error))
        return Member(name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    def read(self, name: str) -> bytes:
        """As `Container.read`."""
        if name not in self._places:
            raise Unreadable("the table holds no such image")
        column, row = self._places[name]
        group = 0
        while row >= self._file.metadata.row_group(group).num_rows:
            row -= self._file.metadata.row_group(group).num_rows
            group += 1
        if self._group is None or self._group[:2] != (group, column):
            self._group = None  # before the next is read: both may be large
            self._group = (group, column, self._cells(group, column))
        data = self._group[2][row].as_py()
        if data is None:
            raise BadPixels("the row holds no bytes of an image (only a path, or nothing)")
        return bytes(data)

    def _cells(self, group: int, column: str) -> Any:
        """The encoded images of a row group, an Arrow array of binary type."""
        import pyarrow as pa
        import pyarrow.compute as pc

        about = self._file.metadata.row_group(group)
        chunks = [about.column(index) for index in range(about.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == column)
        if 2 * size > self._decoding.memory:
            most = self._decoding.memory // 2_000_000
            raise TooManyPixels(f"a row group of {size // 1_000_000} MB, at most {most} MB are read: write smaller row groups")
        try:
            cells = self._file.read_row_group(group, columns=[column], use_threads=False)[column].combine_chunks()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Truncated(f"cut short or damaged: {' '.join(str(error).split())[:150]}") from error
        if pa.types.is_struct(cells.type):
            cells = pc.struct_field(cells, "bytes")
        return cells

    def _columns(self) -> list[tuple[str, bool]]:
        """Columns of images, and whether each has paths."""
        import pyarrow as pa

        found = []
        for field in self._file.schema_arrow:
            if pa.types.is_struct(field.type):
                fields = {field.type.field(at).name: field.type.field(at).type for at in range(field.type.num_fields)}
                if "bytes" in fields and _is_binary(fields["bytes"]):
                    found.append((field.name, "path" in fields and _is_text(fields["path"])))
            elif _is_binary(field.type):
                found.append((field.name, False))
        return found

    def _names(self, column: str, has_path: bool) -> Sequence[str]:
        """A name for each row."""
        import pyarrow as pa

        rows = self._file.metadata.num_rows
        paths: list[str | None] = [None] * rows
        if has_path:
            try:
                table = self._file.read(columns=[f"{column}.path"], use_threads=False)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise Truncated(f"cut short or damaged: {' '.join(str(error).split())[:150]}") from error
            paths = [None if cell is None else cell["path"] for cell in table[column].to_pylist()]
        names = [printable(path) for path in paths if path and not leads_out(path)]
        if len(names) == rows and len(set(names)) == rows:
            return names
        suffixes = [next((suffix for suffix in SUFFIXES if path and path.lower().endswith(suffix)), "") for path in paths]
        return [f"{row}{suffix}" for row, suffix in enumerate(suffixes)]


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
