"""ImageCLEF run files (``real_unknown_0001,1`` on a line): write them, and check them by the organisers' rules.

Only the rules of 2023 were published with a validator. Those of 2024 and 2025 are taken to be the same, see docs/GUIDE.md;
a header, another separator and names with suffix or folder can be asked for.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from embeddings.errors import SynthtraceError
from embeddings.files.spreadsheet import escaped, unescaped
from embeddings.files.writing import write_text
from embeddings.images.decoding import SUFFIXES
from query.database.store import Store
from query.inputs.tables import AS_FOUND, IMAGE, TableForm, read_sheet

_NAMED = 3  # images named in a message


class SubmissionError(SynthtraceError):
    """There is nothing that could be handed in; the message is one line that says why and how to mend it."""


class Task(StrEnum):
    """A task of ImageCLEFmedical GANs, by year and number."""

    USED_2023 = "2023-1"  # which real images were used?
    USED_2024 = "2024-1"
    USED_2025 = "2025-1"
    SUBSET_2025 = "2025-2"  # which real subset does each generated image come from?

    @property
    def role(self) -> str:
        """Of the images that are answered for."""
        return "generated" if self is Task.SUBSET_2025 else "real"


class Names(StrEnum):
    """What stands for an image in a run file."""

    ID = "id"  # the name of its file without suffix
    FILE = "file"  # the name of its file
    PATH = "path"  # the same with folders, as indexed


@dataclass(frozen=True)
class RunFile:
    """How a run file is written.

    Attributes:
        header: the first line; none where it is empty.
        separator: of name and answer, one character.
        names: what stands for an image.

    Raises:
        ValueError: the separator is not one visible character or a tab.
    """

    header: str = ""
    separator: str = ","
    names: Names = Names.ID

    def __post_init__(self) -> None:
        if len(self.separator) != 1 or self.separator in '"\r\n':
            raise ValueError(f"the separator is one character, got {self.separator!r}")

    def named(self, name: str) -> str:
        """What stands for the image of this name."""
        if self.names is Names.ID:
            return identity(name)
        return PurePosixPath(name).name if self.names is Names.FILE else name


USUAL = RunFile()


def submission(
    store: Store,
    method: str,
    *,
    run: int | None = None,
    every: bool = False,
    undecided: bool | None = None,
    form: RunFile = USUAL,
) -> dict[str, bool]:
    """Id of each real image -> whether a method says that it was used, in the order of ids.

    Args:
        store: with the decisions.
        method: whose binary prediction is taken.
        run: its number, the latest finished one for None.
        every: labelled images too; else only those whose membership the run did not know.
        undecided: the answer for images that have none: unreadable, blank, or left open by the method.
        form: how images are named.

    Raises:
        SubmissionError: the method decided nothing, two images have one id, or an image has no answer and `undecided` is None.
        StoreError: there is no such run.
    """
    number = store.known_run(run)
    decided_by = store.sql("SELECT DISTINCT method FROM decisions WHERE run_id = $run ORDER BY 1", {"run": number})
    methods = decided_by["method"].to_pylist()
    if method not in methods:
        known = f"; there are those of {', '.join(methods)}" if methods else ""
        raise SubmissionError(f"{store.path}: run {number} holds no decisions of {method!r}{known}")
    query = "SELECT image_id, used FROM decisions WHERE run_id = $run AND method = $method"
    decided = {row["image_id"]: row["used"] for row in store.sql(query, {"run": number, "method": method}).to_pylist()}
    answers = {name: decided.get(image) for name, image in _images(store, number, every, form).items()}
    _check_open(answers, undecided is not None, method, "--undecided yes or --undecided no")
    return {name: bool(undecided if used is None else used) for name, used in answers.items()}


def subset_submission(
    store: Store, *, run: int | None = None, every: bool = False, undecided: str | None = None, form: RunFile = USUAL
) -> dict[str, str]:
    """Id of each generated image -> the most probable subset, in the order of ids; also where people are told ``undecided``.

    Args:
        store: with the answers of `synthtrace attribute`.
        run: its number, the latest finished one for None.
        every: images with a label too.
        undecided: the subset for files that could not be read.
        form: how images are named.

    Raises:
        SubmissionError: the run holds no such answers, two images have one id, `undecided` is no subset, or a file has no answer.
        StoreError: there is no such run.
    """
    number = store.known_run(run)
    query = "SELECT image_id, subset FROM subset_decisions WHERE run_id = $run"
    decided = {row["image_id"]: row["subset"] for row in store.sql(query, {"run": number}).to_pylist()}
    if not decided:
        raise SubmissionError(f"{store.path}: run {number} says of no image which subset it comes from; run synthtrace attribute")
    subsets = known_subsets(store, number)
    if undecided is not None and undecided not in subsets:
        raise SubmissionError(f"--undecided {undecided!r} is no subset; there are {', '.join(subsets)}")
    images = _images(store, number, every, form, Task.SUBSET_2025.role)
    answers = {name: None if image is None else decided[image] for name, image in images.items()}
    _check_open(answers, undecided is not None, "attribute", "--undecided SUBSET")
    return {name: subset or str(undecided) for name, subset in answers.items()}


def known_subsets(store: Store, run: int) -> list[str]:
    """The subsets of the real images of a run, none where it knows of none."""
    query = "SELECT DISTINCT subset FROM subset_members WHERE run_id = $run ORDER BY 1"
    return [str(subset) for subset in store.sql(query, {"run": run})["subset"].to_pylist()]


def _check_open(answers: Mapping[str, bool | str | None], settled: bool, who: str, mend: str) -> None:
    """Refuse images without an answer where nobody chose one for them."""
    open_ones = [name for name, answer in answers.items() if answer is None]
    if open_ones and not settled:
        named = ", ".join(open_ones[:_NAMED]) + (", ..." if len(open_ones) > _NAMED else "")
        count = f"{len(open_ones):,} of {len(answers):,} images"
        raise SubmissionError(f"{who} has no answer for {count} ({named}); choose one with {mend}")


@dataclass(frozen=True)
class Expected:
    """What a run file must hold.

    Attributes:
        ids: each once.
        answers: that may stand behind an id; none for any.
    """

    ids: Sequence[str]
    answers: Sequence[str] = ("0", "1")


def expected(
    source: Path,
    *,
    run: int | None = None,
    every: bool = False,
    form: TableForm = AS_FOUND,
    task: Task = Task.USED_2023,
    written: RunFile = USUAL,
) -> Expected:
    """What must be handed in: ids of the images of a run, or of a table: in column ``image``, else in the first one.

    Args:
        source: database, or table as in `query.inputs.tables`, with a header or without.
        run, every: see `submission`.
        form: how a table is written, where that is not to be found out.
        task: says which images are answered for, and how. A table does not say which subsets there are.
        written: how images are named.

    Raises:
        TableError: the table cannot be read.
        SubmissionError: the file cannot be read, holds no id, or one twice.
        StoreError: the database cannot be read.
    """
    try:
        head = source.read_bytes()
    except OSError as error:
        raise SubmissionError(f"{source}: {error.strerror}") from error
    answers = () if task is Task.SUBSET_2025 else ("0", "1")
    if head[8:12] == b"DUCK":
        with Store.open(source, read_only=True) as store:
            number = store.known_run(run)
            return Expected(list(_images(store, number, every, written, task.role)), answers or known_subsets(store, number))
    sheet = read_sheet(source, (IMAGE,), form, bare=lambda cells: len(cells) > 0)
    (at,) = sheet.positions((IMAGE,))
    ids = [written.named(unescaped(cells[at].strip())) for _, cells in sheet.rows]
    if not ids:
        raise SubmissionError(f"{source}: holds no id")
    return Expected(sorted(_unique(ids, str(source))), answers)


def write_submission(path: Path, answers: Mapping[str, bool] | Mapping[str, str], form: RunFile = USUAL) -> None:
    """One line for each id, after the header if there is one; readable for its owner only, whole or not at all.

    Raises:
        SubmissionError: an id or a subset would have to be quoted or escaped, and the organisers' format knows neither.
    """
    cells = {name: answer if isinstance(answer, str) else str(int(answer)) for name, answer in answers.items()}
    wrong = [
        cell for line in cells.items() for cell in line if not cell or escaped(cell) != cell or set(cell) & {form.separator, '"'}
    ]
    if wrong:
        raise SubmissionError(
            f"{wrong[0]!r} cannot be handed in ({len(wrong):,} such): the format cannot hold its own separator, quotation marks, "
            "hidden characters or the beginning of a formula; rename the images or subsets and query again"
        )
    header = f"{form.header}\n" if form.header else ""
    write_text(path, header + "".join(f"{name}{form.separator}{cell}\n" for name, cell in cells.items()))


def faults(path: Path, ids: Sequence[str], answers: Collection[str] = ("0", "1"), form: RunFile = USUAL) -> list[str]:
    """What the organisers would refuse: one line each with the number of the line, missing ids last.

    Args:
        path: of the file to be handed in.
        ids: that it must hold.
        answers: that may stand behind an id; none for any.
        form: how it is written.

    Raises:
        SubmissionError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{path}: cannot be read as text: {error}") from error
    first: dict[str, int] = {}
    found = []
    start = 1
    if form.header:
        found += [] if lines[:1] == [form.header] else [f"line 1: must be {form.header!r}, got {''.join(lines[:1])!r}"]
        lines, start = lines[1:], 2
    for number, line in enumerate(lines, start):
        found += [f"line {number}: {fault}" for fault in _faults(line, set(ids), first, answers, form)]
        first.setdefault(line.split(form.separator)[0], number)
    return found + [f"missing id {name!r}" for name in ids if name not in first]


def identity(name: str) -> str:
    """An image's id: its name without folder and without suffix, where that is an image's."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _faults(line: str, ids: set[str], first: Mapping[str, int], answers: Collection[str], form: RunFile) -> list[str]:
    """What is wrong with a line; `first` holds the line of each id so far."""
    if not line.strip():
        return ["is empty"]
    name, *scores = line.split(form.separator)
    if len(scores) != 1:
        return [f"must be id{form.separator}score; got {line!r}"]
    found = []
    if name not in ids:
        found.append(f"wrong id {name!r}" + (f"; write {form.named(name)!r}" if form.named(name) in ids else ""))
    elif name in first:
        found.append(f"id {name!r} again, it stands in line {first[name]} already")
    right = scores[0] in answers if answers else bool(scores[0])
    return found + ([] if right else [f"score must be {_either(answers)}, got {scores[0]!r}"])


def _either(answers: Collection[str]) -> str:
    """``0 or 1``."""
    return " or ".join(answers) or "something"


def _images(store: Store, run: int, every: bool, form: RunFile = USUAL, role: str = "real") -> dict[str, int | None]:
    """Id -> number of each image of one role, None for one that could not be read, in the order of ids."""
    known = {"real": ("labels", "used"), "generated": ("subset_decisions", "label")}
    table, label = known[role]
    rows = store.sql(
        f"""
        SELECT i.name, i.image_id, l.{label} AS label FROM images AS i
        LEFT JOIN {table} AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
        WHERE i.run_id = $run AND i.role = $role
        UNION ALL SELECT path, NULL, NULL FROM failures WHERE run_id = $run AND role = $role AND left_out IS NULL
        ORDER BY 1""",
        {"run": run, "role": role},
    ).to_pylist()
    wanted = [row for row in rows if every or row["label"] is None]
    if not wanted:
        raise SubmissionError(f"{store.path}: every {role} image of run {run} has a label; --all takes them too")
    ids = _unique([form.named(row["name"]) for row in wanted], f"{store.path}, run {run}")
    return dict(sorted(zip(ids, (row["image_id"] for row in wanted), strict=True)))


def _unique(ids: list[str], where: str) -> list[str]:
    twice = sorted(name for name, times in Counter(ids).items() if times > 1)
    if twice:
        raise SubmissionError(
            f"{where}: several images have the id {twice[0]!r} ({len(twice):,} such ids); --names path keeps folders"
        )
    return ids
