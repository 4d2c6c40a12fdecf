"""ImageCLEF run file (``real_unknown_0001,1`` on a line): write it, and check it by the organisers' rules."""

from collections import Counter
from collections.abc import Mapping, Sequence
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


def submission(
    store: Store, method: str, *, run: int | None = None, every: bool = False, undecided: bool | None = None
) -> dict[str, bool]:
    """Id of each real image -> whether a method says that it was used, in the order of ids.

    Args:
        store: with the decisions.
        method: whose binary prediction is taken.
        run: its number, the latest finished one for None.
        every: labelled images too; else only those whose membership the run did not know.
        undecided: the answer for images that have none: unreadable, blank, or left open by the method.

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
    answers = {name: decided.get(image) for name, image in _images(store, number, every).items()}
    open_ones = [name for name, used in answers.items() if used is None]
    if open_ones and undecided is None:
        named = ", ".join(open_ones[:_NAMED]) + (", ..." if len(open_ones) > _NAMED else "")
        raise SubmissionError(
            f"{method} has no answer for {len(open_ones):,} of {len(answers):,} images ({named}); "
            "choose one with --undecided yes or --undecided no"
        )
    return {name: bool(undecided if used is None else used) for name, used in answers.items()}


def expected_ids(source: Path, *, run: int | None = None, every: bool = False, form: TableForm = AS_FOUND) -> list[str]:
    """The ids that must be handed in: of the real images of a run, or of a table: in column ``image``, else in the first one.

    Args:
        source: database, or table as in `query.inputs.tables`, with a header or without.
        run, every: see `submission`.
        form: how a table is written, where that is not to be found out.

    Raises:
        TableError: the table cannot be read.
        SubmissionError: the file cannot be read, holds no id, or one twice.
        StoreError: the database cannot be read.
    """
    try:
        head = source.read_bytes()
    except OSError as error:
        raise SubmissionError(f"{source}: {error.strerror}") from error
    if head[8:12] == b"DUCK":
        with Store.open(source, read_only=True) as store:
            return list(_images(store, store.known_run(run), every))
    sheet = read_sheet(source, (IMAGE,), form, bare=lambda cells: len(cells) > 0)
    (at,) = sheet.positions((IMAGE,))
    ids = [identity(unescaped(cells[at].strip())) for _, cells in sheet.rows]
    if not ids:
        raise SubmissionError(f"{source}: holds no id")
    return sorted(_unique(ids, str(source)))


def write_submission(path: Path, answers: Mapping[str, bool]) -> None:
    """One line for each id, no header; readable for its owner only, whole or not at all.

    Raises:
        SubmissionError: an id would have to be quoted or escaped, and the organisers' format knows neither.
    """
    wrong = [name for name in answers if not name or escaped(name) != name or set(name) & set(',"')]
    if wrong:
        raise SubmissionError(
            f"the id {wrong[0]!r} cannot be handed in ({len(wrong):,} such): the format cannot hold commas, quotation marks, "
            "hidden characters or the beginning of a formula; rename the images and query again"
        )
    text = "".join(f"{name},{int(used)}\n" for name, used in answers.items())
    write_text(path, text)


def faults(path: Path, ids: Sequence[str]) -> list[str]:
    """What the organisers would refuse: one line each with the number of the line, missing ids last.

    Args:
        path: of the file to be handed in.
        ids: that it must hold.

    Raises:
        SubmissionError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{path}: cannot be read as text: {error}") from error
    first: dict[str, int] = {}
    found = []
    for number, line in enumerate(lines, 1):
        found += [f"line {number}: {fault}" for fault in _faults(line, set(ids), first)]
        first.setdefault(line.split(",")[0], number)
    return found + [f"missing id {name!r}" for name in ids if name not in first]


def identity(name: str) -> str:
    """An image's id: its name without folder and without suffix, where that is an image's."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _faults(line: str, ids: set[str], first: Mapping[str, int]) -> list[str]:
    """What is wrong with a line; `first` holds the line of each id so far."""
    if not line.strip():
        return ["is empty"]
    name, *scores = line.split(",")
    if len(scores) != 1:
        return [f"must be id,score; got {line!r}"]
    found = []
    if name not in ids:
        found.append(f"wrong id {name!r}" + (f"; write {identity(name)!r}" if identity(name) in ids else ""))
    elif name in first:
        found.append(f"id {name!r} again, it stands in line {first[name]} already")
    return found + ([] if scores[0] in ("0", "1") else [f"score must be 0 or 1, got {scores[0]!r}"])


def _images(store: Store, run: int, every: bool) -> dict[str, int | None]:
    """Id -> number of each real image, None for one that could not be read, in the order of ids."""
    rows = store.sql(
        """
        SELECT i.name, i.image_id, l.used FROM images AS i
        LEFT JOIN labels AS l ON l.run_id = i.run_id AND l.image_id = i.image_id
        WHERE i.run_id = $run AND i.role = 'real'
        UNION ALL SELECT path, NULL, NULL FROM failures WHERE run_id = $run AND role = 'real' AND left_out IS NULL
        ORDER BY 1""",
        {"run": run},
    ).to_pylist()
    wanted = [row for row in rows if every or row["used"] is None]
    if not wanted:
        raise SubmissionError(f"{store.path}: every real image of run {run} has a label; --all takes them too")
    ids = _unique([identity(row["name"]) for row in wanted], f"{store.path}, run {run}")
    return dict(sorted(zip(ids, (row["image_id"] for row in wanted), strict=True)))


def _unique(ids: list[str], where: str) -> list[str]:
    twice = sorted(name for name, times in Counter(ids).items() if times > 1)
    if twice:
        raise SubmissionError(f"{where}: several images have the id {twice[0]!r} ({len(twice):,} such ids)")
    return ids
