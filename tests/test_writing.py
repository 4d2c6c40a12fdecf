"""Outputs: written whole or not at all, for their owner only, and never where somebody else wants them."""

import ast
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from embeddings.files import writing
from embeddings.files.writing import (
    FullDisk,
    PlantedLink,
    create,
    full_disk_named,
    make_folder,
    remove_unfinished,
    write_atomic,
    write_bytes,
    write_text,
)
from tests.helpers.places import ROOT


def test_a_file_is_written_for_its_owner_only_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), OSError(errno.EIO, "broken disk")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(type(error)):
        write_atomic(tmp_path / "f", write)
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_kind_of_full_disk_is_named_with_the_mend(number: int, tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(FullDisk) as caught:
        write_atomic(tmp_path / "f", write)
    assert str(caught.value) == f"no space left in {tmp_path}; free some and run the same command again: it carries on"
    with pytest.raises(FullDisk, match="no space left in elsewhere"), full_disk_named(Path("elsewhere")):
        raise OSError(number, os.strerror(number))


def test_full_disks_are_named_once_and_other_errors_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FullDisk, match=r"^inner$"), full_disk_named(Path("outer")):
        raise FullDisk("inner")
    with pytest.raises(PermissionError), full_disk_named(Path("outer")):
        raise PermissionError(errno.EACCES, "no")


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from embeddings.files.writing import write_atomic
def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path({str(tmp_path)!r}) / "f.x", write)
"""
    (tmp_path / "part-1.safetensors").touch()
    (tmp_path / ".hidden").touch()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT)
    assert done.returncode == -9
    assert len(os.listdir(tmp_path)) == 3
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "part-1.safetensors"]


def test_the_next_output_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".synthtrace-0123456789abcdef.part").write_bytes(b"half a scan")
    write_text(tmp_path / "f", "new")
    assert os.listdir(tmp_path) == ["f"]


def test_clearing_leaves_what_is_being_written_and_what_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f".synthtrace-{number}.part" for number in "abcd"]
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / names[0]).symlink_to(tmp_path / "victim")
    (tmp_path / names[1]).mkdir()
    os.mkfifo(tmp_path / names[2])

    def write(file: BinaryIO) -> None:
        remove_unfinished(tmp_path)
        file.write(b"new")

    write_atomic(tmp_path / "f", write)
    assert (tmp_path / "f").read_bytes() == b"new"
    (tmp_path / names[3]).touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "f", "victim"])


def test_many_may_write_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever clears up never takes away what another one has just begun."""
    monkeypatch.setattr(writing, "_clear_once", writing._clear)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(50):
                write_bytes(tmp_path / f"{number}", b"%d" % turn)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [(tmp_path / f"{number}").read_bytes() for number in range(4)] == [b"49"] * 4
    assert len(os.listdir(tmp_path)) == 4


def test_a_planted_name_is_neither_followed_nor_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one who could guess the name: the link's file stays as it was, and the open file of others gets no byte."""
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_bytes(b"precious")
    names = iter(["link", "open", "free"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(names))
    monkeypatch.setattr(writing, "_clear_once", lambda _: None)
    (tmp_path / "out" / ".synthtrace-link.part").symlink_to(tmp_path / "victim")
    (tmp_path / "out" / ".synthtrace-open.part").touch(0o666)
    for _ in range(2):
        with pytest.raises(FileExistsError):
            write_text(tmp_path / "out" / "f", "scan")
    write_text(tmp_path / "out" / "f", "scan")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert (tmp_path / "out" / ".synthtrace-open.part").read_bytes() == b""
    assert (tmp_path / "out" / "f").read_text() == "scan"


def test_names_cannot_be_guessed_and_modes_are_right_from_the_first_byte(tmp_path: Path) -> None:
    seen = set()

    def write(file: BinaryIO) -> None:
        (name,) = os.listdir(tmp_path)
        seen.add(name)
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        assert not os.get_inheritable(file.fileno())

    before = os.umask(0)
    try:
        for _ in range(3):
            write_atomic(tmp_path / "f", write)
            (tmp_path / "f").unlink()
    finally:
        os.umask(before)
    assert len(seen) == 3
    assert all(len(name) == len(".synthtrace-.part") + 16 and str(os.getpid()) not in name[12:-5] for name in seen)


def test_an_output_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "f").symlink_to(tmp_path / "victim")
    write_text(tmp_path / "f", "scan")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "f").is_symlink()
    with pytest.raises(FileExistsError):
        create(tmp_path / "f")


def test_a_long_name_leaves_room_for_the_passing_one(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "text")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_the_folder_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []
    real = os.fsync

    def counted(fd: int) -> None:
        kinds.append(stat.S_IFMT(os.fstat(fd).st_mode))
        real(fd)

    monkeypatch.setattr(os, "fsync", counted)
    write_text(tmp_path / "f", "text")
    assert kinds == [stat.S_IFREG, stat.S_IFDIR]


def test_a_link_to_a_folder_is_followed_unless_another_user_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    make_folder(tmp_path / "here")
    write_text(tmp_path / "here" / "f", "mine")
    real = os.lstat
    mine = real(tmp_path / "here")

    def of_another(path: Path) -> os.stat_result:
        return os.stat_result([*real(path)[:4], mine.st_uid + 1, *real(path)[5:]])

    monkeypatch.setattr(os, "lstat", of_another)
    monkeypatch.setattr(os, "geteuid", lambda: mine.st_uid + 2)
    complaint = f"{tmp_path}/here is a link that another user has made; name the folder itself"
    with pytest.raises(PlantedLink, match=complaint):
        make_folder(tmp_path / "here")
    with pytest.raises(PlantedLink, match=complaint):
        write_text(tmp_path / "here" / "f", "scan")
    assert (tmp_path / "there" / "f").read_text() == "mine"


def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_folder(tmp_path / "made")
        make_folder(tmp_path / "made")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700


# Nothing else writes

HOMES = {
    "embeddings/files/writing.py",
    "embeddings/files/temporary.py",
    "embeddings/images/worker.py",  # what the system ends first, where memory runs out
    "indexer/files.py",  # the lock of a folder
    "query/service/backend/reviews/journal.py",  # the file of reviews, which people edit meanwhile, and its lock
    "query/cli/output/doctor.py",  # a file without a name, to see whether one can be written
    "scripts/train_resnet.py",  # a table that grows, and drawn pictures: none is a patient's
    "scripts/gpu_checks/machine.py",  # FAISS's library, which stays mapped
    "scripts/make_site.py",  # of the repository itself
    "scripts/run_notebooks.py",
    "scripts/setup.py",
    "scripts/update_constraints.py",
    "scripts/update_documents.py",
}
WRITING = {"write_bytes", "write_text", "mkdir", "makedirs", "touch", "mkdtemp", "mkstemp", "imwrite", "save_file", "open_memmap"}
WRITING |= {"NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "SpooledTemporaryFile", "tofile", "savez", "savetxt"}
WRITING |= {"copy2", "copytree", "mkfifo", "mknod", "to_parquet", "to_json", "to_pickle", "to_excel"}
TO_FILE = {"save", "savefig", "to_csv", "write_csv", "write_index", "dump"}  # fine where they are handed an open `file`
FLAGS = {"O_CREAT", "O_APPEND", "O_TRUNC"}


def writes(text: str) -> Iterator[tuple[int, str]]:
    """Line and word of every call that makes or opens a file or folder for writing by itself."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in FLAGS:
            yield node.lineno, node.attr
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(node.func.value, "id", "") if isinstance(node.func, ast.Attribute) else ""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        if name in WRITING and isinstance(node.func, ast.Attribute):
            yield node.lineno, name
        elif name in TO_FILE and owner not in ("trainer", "csv", "pc") and isinstance(node.func, ast.Attribute):
            in_memory = (name == "to_csv" and not node.args) or (name == "save" and "safetensors" in text)
            in_memory |= name == "dump" and "pickle.Pickler" in text  # which is handed the file when it is made
            if not in_memory and not any(isinstance(value, ast.Name) and value.id == "file" for value in given):
                yield node.lineno, name
        elif name == "open" and owner not in ("Store", "gzip", "Image", "os", "self"):
            mode = [value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)]
            if any(set(text) <= set("rwxabt+") and set(text) & set("wxa+") for text in mode) and not _of_descriptor(node):
                yield node.lineno, "open"


def _of_descriptor(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Call)  # open(os.open(...)): its flags are looked at


def test_nothing_is_written_but_by_the_helper() -> None:
    """Whoever writes by himself forgets one of name, flags, mode or sync."""
    paths = [path for folder in ("embeddings", "indexer", "query", "scripts") for path in (ROOT / folder).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in sorted(paths)
        if path.relative_to(ROOT).as_posix() not in HOMES and "scripts/attack" not in path.as_posix()  # which plants and damages
        for line, word in writes(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "write through embeddings/files/writing.py and embeddings/files/temporary.py"


@pytest.mark.parametrize(
    "text",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('x')",
        "path.write_text('a')",
        "path.write_bytes(b'a')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "tempfile.mkdtemp()",
        "tempfile.TemporaryDirectory(dir=out)",
        "folder.mkdir(mode=0o700)",
        "os.makedirs(folder)",
        "cv2.imwrite(name, pixels)",
        "image.save(path)",
        "figure.savefig(path)",
        "table.to_csv(path)",
        "np.save(path, array)",
        "torch.save(state, path)",
    ],
)
def test_a_planted_write_is_found(text: str) -> None:
    assert len(list(writes(text))) >= 1


def test_what_is_no_write_is_not_reported() -> None:
    lines = ["open(path, 'rb')", "gzip.open(path)", "np.save(file, a)", "figure.savefig(file)", "table.to_csv(index=False)"]
    assert [word for line in lines for _, word in writes(line)] == []
