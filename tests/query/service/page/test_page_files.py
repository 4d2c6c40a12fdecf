"""The files of the review page, without a browser: nothing from elsewhere, no markup from data, every import there and used."""

import csv
import io
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from embeddings.files.spreadsheet import escaped
from tests.helpers.places import ROOT

PAGE = ROOT / "query" / "service" / "page"
MODULES = sorted(PAGE.glob("*.js"))
OWN = [*MODULES, *PAGE.glob("*.html"), *PAGE.glob("*.svg"), *PAGE.glob("css/*.css")]
EXPORT = re.compile(r"^export (?:async )?(?:function|const|let|class) (\w+)", re.M)
IMPORT = re.compile(r'^import (?:\{(?P<names>[^}]*)\}|\* as (?P<whole>\w+)|(?P<default>\w+)) from "(?P<file>[^"]+)";$', re.M)


def test_nothing_comes_from_elsewhere() -> None:
    for path in OWN:
        addresses = set(re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name


def test_markup_is_never_made_of_data() -> None:
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(")
    assert [path.name for path in MODULES if ways.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_imports_are_there_and_used(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    rest = IMPORT.sub("", text)
    for found in IMPORT.finditer(text):
        source = path.parent / found["file"]
        assert source.is_file()
        if found["names"]:
            assert set(re.findall(r"\w+", found["names"])) <= set(EXPORT.findall(source.read_text(encoding="utf-8")))
        for name in re.findall(r"\w+", found["names"] or found["whole"] or found["default"]):
            assert re.search(rf"\b{name}\b", rest), f"{name} is not used"


def test_exports_are_used() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in MODULES}
    for path, text in texts.items():
        for name in EXPORT.findall(text):
            elsewhere = "".join(other for where, other in texts.items() if where != path)
            assert re.search(rf"\b{name}\b", elsewhere), f"{path.name}: {name}"


def test_colours_are_defined() -> None:
    styles = "".join(path.read_text(encoding="utf-8") for path in PAGE.glob("css/*.css"))
    defined = set(re.findall(r"^\s*--([\w-]+):", styles, re.M))
    tints = set(re.findall(r'colour\("([\w-]+)"\)', "".join(path.read_text() for path in MODULES)))
    assert set(re.findall(r"var\(--([\w-]+)\)", styles)) | tints <= defined


def test_what_was_taken_over_says_from_where() -> None:
    told = (PAGE / "vendor" / "README.md").read_text(encoding="utf-8")
    for folder in (path for path in (PAGE / "vendor").iterdir() if path.is_dir()):
        assert f"`{folder.name}/`" in told
        assert (folder / "LICENSE").is_file()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_escapes_cells_as_the_commands_do() -> None:
    rng = random.Random(1)
    alphabet = "=+-@＝;,'\" \\x0195bcuU2e8\t\r\n\x1b\u009b\u202e\u200b\u3000a\U000e0001"
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(12))) for _ in range(5_000)]
    imports = f"import {{csv}} from '{(PAGE / 'csv.js').as_uri()}'; import fs from 'fs';"
    command = ["node", "--input-type=module", "-e", f"{imports} console.log(csv(['x'], JSON.parse(fs.readFileSync(0))))"]
    done = subprocess.run(command, input=json.dumps([[text] for text in texts]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row[0] if row else "" for row in csv.reader(io.StringIO(done.stdout))][1:-1] == [escaped(text) for text in texts]
