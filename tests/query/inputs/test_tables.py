"""Tables as people have them: every form says the same, or is refused in one line that says what is there and what is wanted."""

import csv
import io
import os
import warnings
from itertools import product
from pathlib import Path

import pytest

from query.benchmarks.published import RecomputeError, read_published
from query.inputs.groups import GroupsError, groups_from_csv
from query.inputs.labels import LabelsError, read_labels
from query.inputs.tables import TableError, TableForm, TableWarning
from query.report.imageclef import expected

LABELS = {"a.png": True, "b, c;d.png": False, "p1/ä.png": True}
HEADERS = [("image", "used"), ("Image", "Used"), ("filename", "label"), ("FILE NAME", "Is Used"), ("real", "used"), ()]
WORDS = [("1", "0"), ("True", "False"), ("yes", "NO"), ("1.0", "0.0"), ("used", "not used")]


def written(folder: Path, header: tuple[str, ...], words: tuple[str, str], delimiter: str, further: bool) -> bytes:
    """The labels as Python's own csv writes them: CRLF, quoted where needed; perhaps with an index and a third column."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    around = further and bool(header)
    if header:
        writer.writerow(["", *header, "source"] if around else header)
    for number, (name, used) in enumerate([*LABELS.items(), *LABELS.items()]):
        cells = [name, words[0] if used else words[1]]
        writer.writerow([number, *cells, "x"] if around else cells)
    return text.getvalue().encode()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_form_gives_the_same_labels(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "labels.csv"
    sep = f"sep={delimiter}\r\n".encode()
    for (header, words), further in product(zip(HEADERS, [*WORDS, WORDS[0]], strict=True), (False, True)):
        raw = written(tmp_path, header, words, delimiter, further)
        text = raw.decode()
        for form in (
            raw,
            sep + raw,
            b"\xef\xbb\xbf" + raw,
            text.encode("utf-16"),
            text.replace("\r\n", "\n").encode("utf-16-be"),
        ):
            path.write_bytes(form)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                assert read_labels(path) == LABELS, form
            assert len(told) == (header not in HEADERS[:2] and header != ())
            if told:
                assert str(told[0].message).startswith(f"{path}: ")
    path.write_bytes(text.replace("\r\n", "\r").encode("cp1252"))
    assert read_labels(path, TableForm(delimiter, "cp1252")) == LABELS


def test_the_order_of_a_file_is_kept_and_its_other_columns_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("patient_id;age;Image Path;real\n7;61;b.png;r1\n7;62;a.png;r2\n8;;c.png;r3\n")
    with pytest.warns(TableWarning, match="image from column 'Image Path', group from column 'patient_id'"):
        assert list(groups_from_csv(tmp_path / "a.csv").items()) == [("b.png", "7"), ("a.png", "7"), ("c.png", "8")]


def test_row_numbers_of_r_and_trailing_delimiters_are_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('image,used\n"1","a.png",1\n"2","b.png",NA\n')
    with pytest.warns(TableWarning, match=r"1 row without used, such as that of 'b\.png': unknown"):
        assert read_labels(path) == {"a.png": True}
    path.write_text("image;used;;\na.png;1;;\n;;;\n\nb.png;0\n")
    assert read_labels(path) == {"a.png": True, "b.png": False}


@pytest.mark.parametrize("nothing", ["", " ", "NA", "nan", "NULL", "?"])
def test_nothing_is_unknown_and_told(tmp_path: Path, nothing: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"image,used\na.png,{nothing}\nb.png,1\na.png,{nothing}\n")
    with pytest.warns(TableWarning, match="2 rows without used"):
        assert read_labels(path) == {"b.png": True}
    path.write_text(f"image,used\na.png,{nothing}\n")
    with pytest.raises(LabelsError, match="no rows under the header say used"):
        read_labels(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; needed are image,used"),
        (b"Bild;benutzt\na;1\n", r"no column 'image' among 'Bild', 'benutzt' \(separated by semicolon\); needed are image,used"),
        (b"image;diagnosis\na;1\n", r"no column 'used' among 'image', 'diagnosis'.*may be called.*label.*1 or 0"),
        (b"image,used\n", "no rows under the header"),
        (b"image,used,used\na,1,0\n", "2 columns are called 'used'"),
        (b"image,label\na,pneumonia\n", "line 2: used of 'a' is 'pneumonia'; write 1 or 0"),
        (b"image,used\na,2\n", "line 2: used of 'a' is '2'; write 1 or 0"),
        (b"image,used\na,1\na,0\n", "line 3: 'a' has two values of used, '0' here and another in line 2"),
        (b"image,used\n,1\n", "line 2: no name of an image in column 'image'"),
        (b"image,used\na, b.png,1\n", "line 2: 3 fields under a header of 2.*quotation marks"),
        (b'image,used\na,"1\n', "not a CSV file"),
        (b"PK\x03\x04", "is a workbook or another archive, no CSV"),
        (b"image,used\na\0,1\nlong name.png,0\n", "holds NUL"),
        (b"\xff\xfeabc", "is not encoded as its first bytes say.*--encoding"),
    ],
)
@pytest.mark.filterwarnings("ignore::query.inputs.tables.TableWarning")
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(LabelsError, match=message) as caught:
        read_labels(tmp_path / "labels.csv")
    assert str(caught.value).startswith(f"{tmp_path}/labels.csv")
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_form_that_is_named_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("image:group\na,b.png:1\n")
    assert groups_from_csv(path, TableForm(":")) == {"a,b.png": "1"}
    with pytest.raises(GroupsError, match="separated by tab"):
        groups_from_csv(path, TableForm(r"\t"))
    path.write_bytes("image,group\nä.png,1\n".encode("cp1252"))
    assert groups_from_csv(path, TableForm("comma", "cp1252")) == {"ä.png": "1"}
    with pytest.raises(GroupsError, match="is not encoded as utf-8"):
        groups_from_csv(path, TableForm(encoding="utf-8"))


@pytest.mark.parametrize("form", [{"delimiter": ""}, {"delimiter": ",,"}, {"delimiter": '"'}, {"encoding": "hex"}])
def test_a_form_that_cannot_be_is_refused(form: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"delimiter is one character|there is no encoding"):
        TableForm(**form)


def test_groups_keep_names_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(b'\xef\xbb\xbfage,group,image\r\n61,P1,a/1.png\r\n\r\n,P1,"a,2.png"\r\n,P 2,\xff.png\r\n61,P1,a/1.png\r\n')
    assert groups_from_csv(path) == {"a/1.png": "P1", "a,2.png": "P1", os.fsdecode(b"\xff.png"): "P 2"}
    path.write_bytes(b"image,group\n\xff,1\n\xff,2\n")
    with pytest.raises(GroupsError, match=r"line 3: .* has two values of group, '2' here and another in line 2") as caught:
        groups_from_csv(path)
    str(caught.value).encode()
    for missing, message in ((tmp_path / "none.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(GroupsError, match=message):
            groups_from_csv(missing)


def test_published_figures_and_ids_are_read_from_spreadsheets_too(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("sep=;\r\nName;Accuracy;positives;negatives\r\nx;0,535;100;100\r\n".encode("utf-16"))
    (row,) = read_published(path)
    assert (row.name, row.totals, [str(figure) for figure in row.figures.values()]) == ("x", (100, 100), ["0.535"])
    path.write_text("name,kappa\nx,1\n")
    with pytest.raises(RecomputeError, match="unknown column 'kappa'; known are name"):
        read_published(path)
    for text in ("b\na\n", "a;1\nb;0\n", "\ufeff;image;used\n1;p/b.png;1\n2;a;0\n"):
        path.write_text(text)
        assert expected(path).ids == ["a", "b"]
    with pytest.raises(TableError, match="No such file"):
        read_labels(tmp_path / "none.csv")
