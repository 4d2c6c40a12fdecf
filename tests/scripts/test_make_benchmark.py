"""The command line of scripts/make_benchmark.py: exit codes, one-line complaints, groups and exclusion by CSV."""

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from embeddings.phantoms.slices import phantom
from tests.helpers.places import SCRIPTS

SCRIPT = SCRIPTS / "make_benchmark.py"


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def real(out: Path) -> list[dict[str, str]]:
    with open(out / "truth_real.csv", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve slices, each file name's number its seed."""
    folder = tmp_path_factory.mktemp("images") / "ct"
    folder.mkdir()
    for seed in range(12):
        cv2.imwrite(str(folder / f"ct_{seed:02d}.png"), phantom(seed))
    return folder


def test_procedural_is_the_default(tmp_path: Path) -> None:
    done = make(tmp_path / "out", "--generated", "8", "--used", "3", "--unused", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "8 of 8 generated" in done.stderr
    assert len(real(tmp_path / "out")) == 5
    assert all(r["source"].startswith("phantom_") for r in real(tmp_path / "out"))


def test_kinds_are_chosen(tmp_path: Path) -> None:
    def kinds(name: str, *options: str) -> set[str]:
        done = make(tmp_path / name, "--generated", "60", "--used", "4", "--unused", "0", *options)
        assert done.returncode == 0, done.stderr
        with open(tmp_path / name / "truth_generated.csv", newline="") as handle:
            return {r["kind"] for r in csv.DictReader(handle)}

    assert kinds("default") == {"warp", "blend", "eigen"}
    assert kinds("some", "--kinds", "mirror,regions") == {"mirror", "regions"}
    assert kinds("all", "--kinds", "all") == {"warp", "blend", "eigen", "mirror", "crop", "regions", "texture", "three"}


def test_groups_and_exclusion(tmp_path: Path, folder: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("image,group\n" + "".join(f"ct_{seed:02d}.png,patient{seed // 2}\n" for seed in range(12)))
    small = ("--from", folder, "--groups", groups, "--generated", "2", "--used", "3", "--unused", "2", "--kinds", "warp")
    assert make(tmp_path / "a", *small).returncode == 0
    first = real(tmp_path / "a")
    for r in first:
        assert r["group"] == f"patient{int(r['source'][3:5]) // 2}"
    assert not {r["group"] for r in first if r["used"] == "1"} & {r["group"] for r in first if r["used"] == "0"}
    done = make(tmp_path / "b", *small, "--exclude", tmp_path / "a" / "truth_real.csv")
    assert done.returncode == 0, done.stderr
    assert not {r["group"] for r in first} & {r["group"] for r in real(tmp_path / "b")}


def test_siblings(tmp_path: Path, folder: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("image,group\n" + "".join(f"ct_{seed:02d}.png,patient{seed // 3}\n" for seed in range(12)))
    options = ("--siblings", "--from", folder, "--groups", groups, "--generated", "5", "--used", "4", "--unused", "4")
    assert make(tmp_path / "out", *options).returncode == 0
    sides: dict[str, dict[str, int]] = {r["used"]: {} for r in real(tmp_path / "out")}
    for r in real(tmp_path / "out"):
        sides[r["used"]][r["group"]] = int(r["source"][3:5])
    assert sides["0"].keys() == sides["1"].keys() == {f"patient{n}" for n in range(4)}
    assert all(abs(sides["0"][group] - sides["1"][group]) == 1 for group in sides["0"])


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_a_sources_table_is_found(tmp_path: Path, folder: Path, place: str) -> None:
    copy = tmp_path / "slices"
    copy.mkdir()
    for path in folder.glob("*.png"):
        (copy / path.name).write_bytes(path.read_bytes())
    table = tmp_path / "slices_sources.csv" if place == "beside" else copy / "any_sources.csv"
    table.write_text("file,group\n" + "".join(f"ct_{seed:02d}.png,volume{seed % 3}\n" for seed in range(12)))
    assert make(tmp_path / "out", "--from", copy, "--generated", "1", "--used", "4", "--unused", "4").returncode == 0
    assert {r["group"] for r in real(tmp_path / "out")} <= {"volume0", "volume1", "volume2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out", "--generated", "many"], "invalid int value: 'many'"),
        (["out", "--kinds", "warp,morph"], "unknown kind 'morph'"),
        (["out", "--copied", "2"], "share from 0 to 1"),
        (["out", "--used", "-1"], "used must not be negative"),
        (["out", "--from", "{folder}", "--procedural"], "not allowed with"),
        (["out", "--groups", "x.csv"], "--groups needs --from"),
        (["out", "--from", "nowhere"], "nowhere"),
        (["out", "--from", "{folder}"], "of 100 images for"),
        (["out", "--from", "{folder}", "--siblings"], "only 0 of 100 groups of two images or more"),
        (["out", "--siblings", "--used", "50"], "as many unused as used"),
        (["out", "--from", "{folder}", "--groups", "nowhere.csv"], "nowhere.csv"),
        (["out", "--from", "{folder}", "--groups", "wrong.csv"], "wrong.csv: no column 'image'"),
        (["out", "--from", "{folder}", "--groups", "strange.csv"], "names none of the images"),
        (["out", "--exclude", "wrong.csv"], "wrong.csv: no column 'source'"),
        (["full"], "not an empty folder"),
        (["full/file"], "not an empty folder"),
        ([], "required: OUT"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "wrong.csv").write_text("nom,patient\na.png,1\n")
    (tmp_path / "strange.csv").write_text("image,group\nother.png,1\n")
    monkeypatch.chdir(tmp_path)
    done = make(*(a.format(folder=folder) for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("make_benchmark.py: ")
    assert not (tmp_path / "out").exists()


def test_a_bad_image_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = make(tmp_path / "out", "--from", tmp_path / "in", "--used", "1", "--unused", "0", "--kinds", "warp")
    assert done.returncode == 2
    assert "bad.png: " in done.stderr
    assert done.stderr.count("\n") == 1
