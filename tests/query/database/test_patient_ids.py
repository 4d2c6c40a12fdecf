"""Who hashed patients are: what the files say, beside hashes alone, and only where the files are what they were."""

from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from embeddings.images.errors import ImageError
from indexer.build.build import Settings, build
from query.cli.group import program
from query.comparison.comparison import compare
from query.database.patient_ids import with_patient_ids
from query.database.record import Results, record
from query.database.store import Store, StoreError
from query.inputs.groups import groups_by_row, read_groups
from query.inputs.sides import sides_of
from tests.helpers.dicoms import dicom
from tests.helpers.making import slice_of, write_image

PATIENTS = ["Ada^A", "Ada^A", "Bob=7", ""]  # of real files; the last names a series alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the same images, by PatientID and by folder."""
    folder = tmp_path_factory.mktemp("patients")
    for number, patient in enumerate(PATIENTS):
        path = folder / "real" / f"ward {number % 2}" / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(slice_of(number), PatientID=patient, SeriesInstanceUID=f"1.2.{number}"))
    (folder / "made").mkdir()
    write_image(folder / "made" / "a.png", slice_of(9))
    generated = build(folder / "g", folder / "made", settings=Settings(views={"phash": {}}))
    real = build(folder / "r", folder / "real", fitted_on=generated)
    sides = sides_of(real, generated)
    with Store.open(folder / "results.duckdb") as store:
        for source in ("dicom", "folder"):
            record(store, Results(compare(sides), groups=groups_by_row(read_groups(source), sides.real)))
    return folder


def asked(folder: Path, run: int) -> dict[str, str | None]:
    """Name of a real image -> who its group is."""
    with Store.open(folder / "results.duckdb", read_only=True) as store:
        query = """SELECT name, "group" FROM images WHERE run_id = $run AND role = 'real' ORDER BY name"""
        table = with_patient_ids(store, store.sql(query, {"run": run}))
    assert table.column_names == ["name", "group", "patient_id"]
    return dict(zip(table["name"].to_pylist(), table["patient_id"].to_pylist(), strict=True))


def test_hashes_become_what_the_files_say(folder: Path) -> None:
    expected = [patient or "1.2.3" for patient in PATIENTS]
    assert asked(folder, 1) == {f"ward {number % 2}/{number}.dcm": who for number, who in enumerate(expected)}
    assert asked(folder, 2) == {f"ward {number % 2}/{number}.dcm": f"ward {number % 2}" for number in range(len(PATIENTS))}


def test_what_is_no_hash_stays_and_a_column_must_be_there(folder: Path) -> None:
    with Store.open(folder / "results.duckdb", read_only=True) as store:
        table = with_patient_ids(store, pa.table({"patient": ["p1", None, "patient 0123456789abcdef0123456789abcdef"]}))
        assert table["patient_id"].to_pylist() == [None] * 3
        for columns in (["name"], ["patient", "group"]):
            with pytest.raises(StoreError, match="one column called patient or group"):
                with_patient_ids(store, pa.table({column: ["x"] for column in columns}))


def test_the_command_names_nobody_unless_it_is_asked(folder: Path) -> None:
    line = ["sql", "--db", str(folder / "results.duckdb"), """SELECT "group" FROM images WHERE run_id = 1 AND role = 'real'"""]
    plain, named = (CliRunner().invoke(program, [*line, *more]).stdout for more in ([], ["--patient-ids"]))
    assert "patient_id" not in plain
    assert "Bob" not in plain
    assert "Bob=7" in named
    assert b"Bob" not in (folder / "results.duckdb").read_bytes()
    done = CliRunner().invoke(program, ["sql", "--patient-ids"])
    assert (done.exit_code, "name one" in done.stderr) == (2, True)


def test_a_file_that_changed_names_nobody(folder: Path) -> None:
    path = folder / "real" / "ward 0" / "2.dcm"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"Bob=7", b"Eve=7"))
    try:
        with pytest.raises(ImageError, match=r"2\.dcm: the file has changed"):
            asked(folder, 1)
    finally:
        path.write_bytes(before)
