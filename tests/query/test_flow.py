"""A whole audit of a small set, held against what NumPy, imagehash and scikit-learn make of the same files."""

import csv
import hashlib
import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import query.flow
from embeddings.images.errors import NoImages
from embeddings.phantoms.slices import copy_of, phantom
from indexer.build.build import Settings
from indexer.manifest import CollectionError
from query.comparison.matching import Budget, MatchSettings
from query.database.store import Store
from query.evaluation.resampling import Estimate
from query.flow import Audit, AuditSettings, Say, audit, quiet
from query.inputs.groups import GroupsError
from query.inputs.labels import LabelsError
from query.membership.case import MembershipError
from query.membership.predict import PredictionRequest
from query.report.text.lines import WIDTH

VIEWS = Settings(views={"phash": {}, "sift": {"words": 16}})
QUICK = Settings(views={"phash": {}})
NOTHING = Budget(images=0)  # is matched: that takes its time
REALS, COPIES = 10, 12
THRESHOLD = 60


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 real images, 5 of them used; 12 copies, 6 strangers and 2 byte-for-byte copies; blank and broken files on both sides."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for n in range(REALS):
        save(folder / "real" / f"p{n // 2}_{n}.png", phantom(n))
    for n in range(COPIES):
        save(folder / "generated" / f"copy_{n:02d}.png", copy_of(phantom(n % 5), 1 + n % 3, rng))
    for n in range(6):
        save(folder / "generated" / f"other_{n}.png", phantom(500 + n))
    for n in (1, 3):
        shutil.copy(folder / "real" / f"p{n // 2}_{n}.png", folder / "generated" / f"same_{n}.png")
    for role in ("real", "generated"):
        save(folder / role / "blank.png", np.full((64, 64), 7 if role == "real" else 9, np.uint8))
        (folder / role / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    labels = [("image", "used"), *((f"p{n // 2}_{n}.png", int(n < 5)) for n in range(REALS - 1))]
    (folder / "labels.csv").write_text("\n".join(f"{a},{b}" for a, b in labels))
    return folder


def settings_of(**options: Any) -> AuditSettings:
    return AuditSettings(**{"index": QUICK, "matching": MatchSettings(NOTHING), "device": "cpu", **options})


def run(images: Path, out: Path, say: Say = quiet, **options: Any) -> Audit:
    return audit([images / "real"], [images / "generated"], out, settings_of(**options), say=say)


@pytest.fixture(scope="module")
def done(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    out = tmp_path_factory.mktemp("out") / "audit"
    return run(images, out, index=VIEWS, labels=images / "labels.csv", groups=r"^(p4_9|p\d)", threshold=THRESHOLD, quality=100)


def table(found: Audit, name: str) -> list[dict[str, str]]:
    with open(found.out / "csv" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bits(images: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Names, and Hamming distances by imagehash, of all readable images that are not blank: (generated, real)."""
    hashes, names = {}, {}
    for role in ("generated", "real"):
        paths = [p for p in sorted((images / role).iterdir()) if p.stem not in ("blank", "broken")]
        names[role] = [p.name for p in paths]
        hashes[role] = np.array([imagehash.phash(Image.open(p), 16).hash.ravel() for p in paths])
    distances = (hashes["generated"][:, None] != hashes["real"][None]).sum(axis=2)
    return names["generated"], names["real"], distances


def test_tables_hold_the_nearest_by_imagehash(done: Audit, images: Path) -> None:
    generated, real, distances = bits(images)
    for name, column, mine, theirs, d in (
        ("source_map", "source", generated, real, distances),
        ("nearest_generated", "generated_image", real, generated, distances.T),
    ):
        lines = {line["generated_image" if name == "source_map" else "real_image"]: line for line in table(done, name)}
        assert len(lines) == len(mine) + 1  # the blank one; the broken one is a failure
        for row, image in enumerate(mine):
            assert int(lines[image]["phash_distance"]) == d[row].min()
            assert d[row, theirs.index(lines[image][f"phash_{column}"])] == d[row].min()
        assert lines["blank.png"]["phash_distance"] == lines["blank.png"][f"phash_{column}"] == ""
        assert "phash" in lines["blank.png"]["blank_views"].split()


def test_quality_stands_beside_privacy_and_in_the_database(done: Audit) -> None:
    quality = done.as_dict()["quality"]
    assert (quality["generated"], quality["real"], quality["groups_known"]) == (21, 11, True)
    assert quality["reason"].endswith("it was indexed without view resnet; index it again with --view resnet")
    assert [each["figure"] for each in quality["diversity"]] == ["vendi", "nearest", "duplicates"]
    assert "How good, how private" in done.details
    page = (done.out / "report.html").read_text()
    assert "Vendi score" in page
    with Store.open(done.out / "synthtrace.duckdb", read_only=True) as store:
        rows = store.analyse("quality").to_pylist()
        (search,) = store.analyse("searches").to_pylist()
    assert {row["figure"] for row in rows if row["question"] == "diversity"} == {"vendi", "nearest", "duplicates"}
    assert (search["run"], search["images"], search["repeated"]) == (done.run, 21, quality["repeated"])
    assert quality["repeated"] > 0  # three copies of each of five images


def test_failures_and_blank_images_are_counted(done: Audit) -> None:
    assert done.failed == 2
    assert sorted((line["role"], line["path"]) for line in table(done, "failures")) == [
        ("generated", "broken.png"), ("real", "broken.png"),
    ]  # fmt: skip
    facts = done.as_dict()
    counts = {"images": 21, "failed": 1, "ignored": 0, "left_out": [], "arrays": [], "source": ""}
    assert facts["counts"]["generated"] | {"source": ""} == counts
    assert facts["counts"]["real"]["images"] == 11
    assert facts["views"]["phash"]["blank"] == {"generated": 1, "real": 1}
    assert "21 generated images, 1 file unreadable (csv/failures.csv)" in done.details
    assert "phash 1 generated, 1 real" in " ".join(done.details.split())


def test_smallest_and_median_distances_are_right(done: Audit, images: Path) -> None:
    distances = bits(images)[2]
    found = done.as_dict()["views"]["phash"]
    assert found["real"] == {"smallest": distances.min(), "median": np.median(distances.min(axis=0))}
    assert found["generated"] == {"smallest": distances.min(), "median": np.median(distances.min(axis=1))}
    with Store.open(done.out / "synthtrace.duckdb", read_only=True) as store:
        for view, found in done.as_dict()["views"].items():
            every = store.sql("SELECT distance FROM distances WHERE view = $view", {"view": view})["distance"].to_numpy()
            assert found["all_pairs_median"] == np.sort(every)[(len(every) - 1) // 2]
            assert found["all_pairs_median_exact"]
    assert "about" not in done.details.partition("Distance to the nearest")[2].partition("Exact")[0]


def test_files_that_are_real_ones_are_told(done: Audit, images: Path) -> None:
    digests = {
        role: {hashlib.sha256(p.read_bytes()).hexdigest() for p in (images / role).iterdir() if p.stem != "broken"}
        for role in ("real", "generated")
    }
    assert len(digests["real"] & digests["generated"]) == 2
    shared = done.as_dict()["shared"]
    assert (shared["generated_files"], shared["real_files"], shared["same_files"]) == (2, 2, False)
    assert shared["example"] == "same_1.png = p0_1.png"
    assert done.details.startswith("2 generated images are exact copies of 2 real images")
    assert done.as_dict()["copies"]["exact"]["generated"] == 2


def test_closest_pairs_are_the_copies(done: Audit) -> None:
    pairs = done.as_dict()["closest_pairs"]
    assert len({pair["real"] for pair in pairs}) == len(pairs)  # each real image once
    # the combination ranks by how far a pair stands out, so a faint copy of one image can come before another image itself
    assert all(pair["generated"].startswith(("same", "copy")) for pair in pairs[:4])
    same = [pair for pair in pairs if pair["distances"]["phash"] == 0]
    assert {pair["generated"] for pair in same} == {"same_1.png", "same_3.png"}
    for pair in same:
        assert pair["distances"]["sift"] == pytest.approx(0, abs=1e-5)
    order = [pair["distances"]["combined"] for pair in pairs]
    assert order == sorted(order)
    pictures = sorted(path.name for path in (done.out / "pairs").iterdir())
    assert pictures == ["closest_pairs.png", *(f"pair_{n:02d}.png" for n in range(1, len(pairs) + 1))]


def test_distances_of_pairs_are_those_of_the_database(done: Audit) -> None:
    with Store.open(done.out / "synthtrace.duckdb", read_only=True) as store:
        for pair in done.as_dict()["closest_pairs"]:
            kept = store.sql(
                """SELECT view, distance FROM distances AS d JOIN images AS r ON r.image_id = real_id
                JOIN images AS g ON g.image_id = generated_id WHERE r.name = $real AND g.name = $generated""",
                {name: pair[name] for name in ("real", "generated")},
            ).to_pylist()
            assert {row["view"]: row["distance"] for row in kept} == pytest.approx(pair["distances"], abs=1e-5)


def test_most_copied_counts_the_source_map(done: Audit) -> None:
    lines = [line for line in table(done, "source_map") if line["combined_source"]]
    sources = [line["combined_source"] for line in lines]
    copied = done.as_dict()["most_copied"]
    assert {image["real"]: image["generated_images"] for image in copied["images"]} == {s: sources.count(s) for s in sources}
    assert copied["by_chance"] == pytest.approx(len(lines) / REALS)


def test_agreement_counts_the_source_map(done: Audit) -> None:
    lines = [line for line in table(done, "source_map") if line["phash_source"] and line["sift_source"]]
    agreement = done.as_dict()["agreement"]
    (pair,) = agreement["pairs"]
    assert (agreement["images"], pair["views"]) == (len(lines), ["phash", "sift"])
    assert pair["same_source"] == sum(line["phash_source"] == line["sift_source"] for line in lines)
    by_chance = np.mean([a["phash_source"] == b["sift_source"] for a in lines for b in lines])
    assert pair["by_chance"] == pytest.approx(by_chance)


def test_the_threshold_counts_both_sides(done: Audit, images: Path) -> None:
    near = bits(images)[2] <= THRESHOLD
    assert done.as_dict()["threshold"] == {
        "view": "phash", "bits": THRESHOLD, "calibrated": False,
        "generated_images": near.any(axis=1).sum(), "real_images": near.any(axis=0).sum(),
    }  # fmt: skip
    assert done.findings == near.any(axis=1).sum()
    assert "NOT CALIBRATED" in done.details


def test_labels_give_the_auroc_of_every_view(done: Audit) -> None:
    labels = done.as_dict()["labels"]
    assert (labels["used"], labels["not_used"], labels["unlabelled"]) == (5, 4, 2)
    known = [line for line in table(done, "nearest_generated") if line["membership"] != "unlabelled"]
    assert {line["real_image"]: line["group"] for line in known} == {f"p{n // 2}_{n}.png": f"p{n // 2}" for n in range(REALS - 1)}
    for view, found in labels["auroc"].items():
        used, d1 = [line["membership"] == "used" for line in known], [float(line[f"{view}_distance"]) for line in known]
        assert found["value"] == pytest.approx(roc_auc_score(used, [-d for d in d1]))
        assert (found["images"], found["n"]) == (REALS - 1, 5)
        assert found["low"] <= found["value"] <= found["high"]
    assert "Labels: 5 used, 4 not used, 2 without" in done.details


def with_run(found: Audit, **changes: Any) -> Audit:
    """The audit with another run summary."""
    return replace(found, result=replace(found.result, run=replace(found.result.run, **changes)))


def test_the_summary_is_one_page_and_details_have_the_rest(done: Audit) -> None:
    for name, text in (("summary.txt", done.summary), ("details.txt", done.details)):
        assert (done.out / name).read_text() == text
        lines = text.splitlines()
        assert all(len(line) <= WIDTH for line in lines if str(done.out) not in line and "/images" not in line)
        assert "safe" not in " ".join(text.split()).replace('is not "safe to release"', "")
        assert 'is not "safe to release"' in " ".join(text.split())
    sides = {role: replace(side, source="/tmp") for role, side in done.result.run.sides.items()}  # long paths take more lines
    short = with_run(done, sides=sides)
    assert len(short.details.splitlines()) <= 115  # this audit warns of all there is
    assert len(short.summary.splitlines()) <= 40
    for caveat in done.as_dict()["caveats"]:
        assert caveat in " ".join(done.details.split())
    said = list(done.result.run.warnings) + done.as_dict()["copies"]["note"] + done.as_dict()["decisions"]["answer"]
    for line in said:  # what is left out of one page is never a warning or the answer
        assert " ".join(line.split()) in " ".join(done.summary.split())


def test_facts_are_json_and_name_every_file(done: Audit) -> None:
    facts = json.loads(json.dumps(done.as_dict(), allow_nan=False))
    assert facts == done.as_dict()
    named = {Path(path) for paths in facts["files"].values() for path in paths}
    made = {path for name in ("csv", "plots", "pairs", "models", "evaluation") for path in (done.out / name).iterdir()}
    assert named == made | {
        done.out / name for name in ("summary.txt", "details.txt", "synthtrace.duckdb", "report.html", "report.json")
    }
    assert {path.name for path in (done.out / "plots").iterdir()} == {
        f"distances_{view}.{kind}" for view in ("combined", "phash", "sift") for kind in ("png", "svg")
    }


def test_everything_is_for_the_owner_only(done: Audit) -> None:
    for path in [done.out, *done.out.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_note_of_a_view_is_in_the_summary(done: Audit) -> None:
    note = "seeded random weights: not trained on anything"
    views = [replace(view, note=note) if view.view == "sift" else view for view in done.result.run.views]
    assert f"View sift: {note}." in with_run(done, views=views).details


def test_names_cannot_drive_a_terminal(done: Audit) -> None:
    pair = replace(done.result.pairs.closest_pairs[0], real="\x1b[31m\nred.png")
    pairs = replace(done.result.pairs, closest_pairs=[pair])
    text = replace(done, result=replace(done.result, pairs=pairs)).details
    assert "\x1b" not in text
    assert "\\x1b[31m\\nred.png" in text


def test_an_undefined_interval_is_null() -> None:
    nothing = Estimate(float("nan"), float("nan"), float("nan"), 1)
    assert nothing.as_dict() == {"value": None, "low": None, "high": None, "n": 1, "undefined": 0}


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is the slowest part of a small audit."""
    monkeypatch.setattr(query.flow, "PAIRS", 1)
    monkeypatch.setattr(query.flow, "write_plots", lambda *_: None)
    monkeypatch.setattr(query.flow, "write_evaluation", lambda *_: [])


def contents(out: Path) -> dict[str, bytes]:
    kept = [p for name in ("csv", "plots", "pairs", "models") for p in (out / name).iterdir()]
    return {str(p.relative_to(out)): p.read_bytes() for p in [*kept, out / "summary.txt"]}


def test_the_same_again_is_the_same_and_what_changed_is_seen(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "images")
    first = run(tmp_path / "images", tmp_path / "out")
    before, made = contents(first.out), (first.out / "generated" / "manifest.json").stat()
    again = run(tmp_path / "images", tmp_path / "out")
    assert contents(again.out) == before
    assert again.as_dict() == first.as_dict()
    assert (first.out / "generated" / "manifest.json").stat() == made
    for n in range(4, REALS):
        (tmp_path / "images" / "real" / f"p{n // 2}_{n}.png").unlink()
    (tmp_path / "images" / "real" / "broken.png").unlink()
    save(tmp_path / "images" / "generated" / "new.png", phantom(900))
    changed = run(tmp_path / "images", tmp_path / "out")
    assert [changed.as_dict()["counts"][role]["images"] for role in ("real", "generated")] == [5, 22]
    assert len(changed.as_dict()["closest_pairs"]) == 4
    assert len(list((changed.out / "pairs").iterdir())) == 5  # no picture of before


def test_a_failure_leaves_the_earlier_audit(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(images, tmp_path / "out")
    before = contents(found.out)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(query.flow, "write_plots", fail)
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "out")
    assert contents(found.out) == before
    assert not list(found.out.glob(".*.part*"))
    with Store.open(found.out / "synthtrace.duckdb", read_only=True) as store:
        assert len(store.analyse("runs")) == 1


@pytest.mark.usefixtures("few_pictures")
def test_flipped_copies_are_found_when_asked_for(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images / "real", tmp_path / "real")
    for n in range(4):
        save(tmp_path / "generated" / f"{n}.png", np.ascontiguousarray(phantom(n)[:, ::-1]))
    sides = [tmp_path / "real"], [tmp_path / "generated"]
    plain = audit(*sides, tmp_path / "plain", settings_of())
    flipped = audit(*sides, tmp_path / "flipped", settings_of(mirror=True))
    assert plain.as_dict()["views"]["phash"]["generated"]["smallest"] > 0
    assert flipped.as_dict()["views"]["phash"]["generated"]["median"] == 0
    (pair,) = flipped.as_dict()["closest_pairs"]
    assert (pair["mirrored"], pair["distances"]["phash"]) == (True, 0)
    (picture,) = (flipped.out / "pairs").glob("pair_*.png")
    with Image.open(picture) as shown:  # the real image as it was matched: no difference, so nothing is red or blue
        red, _, blue = (channel.astype(int) for channel in np.moveaxis(np.asarray(shown.convert("RGB")), 2, 0))
    assert (np.abs(red - blue)[:, : shown.width * 9 // 10] < 16).all()
    assert "<~" in flipped.details
    assert "Flipped real images were compared too" in flipped.details


@pytest.mark.usefixtures("few_pictures")
def test_the_same_files_on_both_sides_are_told_aloud(images: Path, tmp_path: Path) -> None:
    found = audit([images / "real"], [images / "real"], tmp_path / "out", settings_of())
    assert "THE SAME FILES" in found.details


@pytest.mark.usefixtures("few_pictures")
def test_unknown_patients_are_near_duplicates(images: Path, tmp_path: Path) -> None:
    found = run(images, tmp_path / "out", labels=images / "labels.csv")
    assert found.as_dict()["groups"] == {
        "known": False, "note": "Patients are unknown: near-duplicates were grouped, 11 groups.",
    }  # fmt: skip
    assert "Patients are unknown" in found.details
    assert run(images, tmp_path / "out").as_dict()["labels"] is None


@pytest.mark.usefixtures("few_pictures")
def test_groups_come_from_a_table(images: Path, tmp_path: Path) -> None:
    given = tmp_path / "groups.csv"
    given.write_text("image,group\n" + "\n".join(f"p{n // 2}_{n}.png,{n % 3 if n < 9 else 'other'}" for n in range(REALS)))
    found = run(images, tmp_path / "out", labels=images / "labels.csv", groups=str(given))
    assert found.as_dict()["groups"] == {"known": True, "note": "5 groups, as given."}  # the blank image is one by itself


def test_what_methods_say_is_in_the_facts_the_tables_and_the_database(done: Audit) -> None:
    methods = done.as_dict()["decisions"]["methods"]
    assert set(methods) == {"fusion", "phash"}  # 4 images that were not used, 5 patients, are too few for the others
    with Store.open(done.out / "synthtrace.duckdb", read_only=True) as store:
        kept = {(row["method"], row["real_image"]): row for row in store.analyse("decisions").to_pylist()}
        described = {row["method"]: row for row in store.sql("SELECT * FROM methods").to_pylist()}
        assert len(store.analyse("runs")) == 1
    for method, found in methods.items():
        assert described[method]["calibrated"] == found["calibrated"]
        for image in found["images"]:
            row = kept.pop((method, image["image"]))
            assert (row["decided_used"], row["answer"], row["role"]) == (image["used"], image["answer"], image["role"])
            assert (row["value"], row["p_value"]) == (image["value"], image["p_value"])
    assert not kept
    lines = table(done, "decisions")
    assert len(lines) == 2 * (REALS + 1)
    assert {line["real_image"] for line in lines if line["membership"] == "unlabelled"} == {"blank.png", f"p4_{REALS - 1}.png"}
    assert {line["real_image"]: line["role"] for line in lines if line["role"] == "sibling"} == {"p2_5.png": "sibling"}
    assert sorted(path.stem for path in (done.out / "models").iterdir()) == ["fusion", "phash"]


def test_what_is_said_of_patients_is_in_the_database(done: Audit) -> None:
    with Store.open(done.out / "synthtrace.duckdb", read_only=True) as store:
        rows = store.sql("SELECT * FROM patient_decisions ORDER BY role, p_value").to_pylist()
        tests = store.sql("SELECT * FROM set_tests").to_pylist()
    images = {Path(image["image"]).stem: image for image in done.as_dict()["decisions"]["methods"]["fusion"]["images"]}
    of = {
        name: [image for stem, image in images.items() if stem.startswith(name)]
        for name in ("p0", "p1", "p2", "p3", "p4", "p4_9")
    }
    assert {(row["patient"], row["role"], row["images"]) for row in rows} == {
        ("p0", "cross-fitted", 2), ("p1", "cross-fitted", 2), ("p2", "cross-fitted", 1), ("p3", "cross-fitted", 2),
        ("p4", "cross-fitted", 1), ("p4_9", "unlabelled", 1),
    }  # fmt: skip
    for row in rows:
        own = {image["q_value"] for image in of[row["patient"]] if image["role"] == row["role"]}
        assert own == {row["q_value"]}
        assert row["p_value"] >= 1 / 3  # of two patients in the reference
    assert tests == []  # there is one unlabelled patient alone


def test_methods_that_cannot_judge_are_told_of(done: Audit) -> None:
    refused = done.as_dict()["decisions"]["refused"]
    assert [line.split()[0] for line in refused] == ["reference", "hubness"]
    text = " ".join(done.details.split())
    assert all(f"Left out: {line}." in text for line in refused)
    assert "Primary method fusion" in text


def test_labelled_images_are_evaluated(done: Audit) -> None:
    phash = done.as_dict()["evaluation"]["methods"]["phash"]
    lines = [line for line in table(done, "decisions") if line["method"] == "phash" and line["membership"] != "unlabelled"]
    used, value = [line["membership"] == "used" for line in lines], [float(line["value"]) for line in lines]
    assert phash["auroc"]["value"] == roc_auc_score(used, value)
    note = [line["decided_used"] == "true" for line in lines]
    assert phash["counts"]["tp"] == sum(a and b for a, b in zip(used, note, strict=True))
    with Store.open(done.out / "synthtrace.duckdb", read_only=True) as store:
        metrics = {(row["method"], row["metric"]): row["value"] for row in store.analyse("metrics").to_pylist()}
    assert metrics["phash", "auroc"] == phash["auroc"]["value"]
    names = {path.name for path in (done.out / "evaluation").iterdir()}
    assert {"metrics.csv", "roc.png", "distribution_phash.svg", "reliability_fusion.png"} <= names
    assert "How well methods predict" in done.details


@pytest.mark.usefixtures("few_pictures")
def test_without_labels_nothing_is_calibrated_and_nothing_evaluated(images: Path, tmp_path: Path) -> None:
    known = run(images, tmp_path / "out", labels=images / "labels.csv")
    assert (known.out / "evaluation").is_dir()
    assert not any("Nothing here is calibrated" in line for line in known.as_dict()["caveats"])
    found = run(images, tmp_path / "out")
    facts = found.as_dict()
    assert facts["evaluation"] is None
    assert not (found.out / "evaluation").exists()
    (method,) = facts["decisions"]["methods"].values()  # self-threshold needs view resnet
    assert not method["calibrated"]
    assert {image["p_value"] for image in method["images"]} == {None}
    assert "Nothing here is calibrated" in found.details
    assert "Nobody can be called used. Without images that are known not to be used" in " ".join(found.details.split())


@pytest.mark.usefixtures("few_pictures")
def test_a_folder_of_images_never_used_calibrates(images: Path, tmp_path: Path) -> None:
    for n in range(30):
        save(tmp_path / "never" / f"never_{n}.png", phantom(700 + n))
    request = PredictionRequest(unused=tmp_path / "never", priors=(0.3, 0.3), fdr=0.2)
    found = run(images, tmp_path / "out", predictions=request, groups=r"^p\d_")
    fusion = found.as_dict()["decisions"]["methods"]["fusion"]
    assert (fusion["primary"], fusion["reference"], fusion["fdr"], fusion["used"]) == (True, 30, 0.2, 0)
    note = {Path(image["image"]).name: image for image in fusion["images"] if image["role"] == "unlabelled"}
    assert len(note) == REALS + 1
    answers = [note[f"p{n // 2}_{n}.png"] for n in range(REALS)]
    assert [(image["used"], image["answer"]) for image in answers[:4]] == [(True, "patient used")] * 4
    assert all(image["p_value"] == pytest.approx(1 / 31) for image in answers[:5])
    assert answers[4]["used"]
    assert answers[4]["answer"] == answers[5]["answer"]  # of p2, of whom one image was used: one answer for both
    assert sum(image["answer"] == "patient used" for image in answers[6:]) <= 2  # a level of 0.2 lets one patient be wrong
    assert not {image["answer"] for image in answers[6:]} - {"patient used", "no trace found"}
    with Store.open(found.out / "synthtrace.duckdb", read_only=True) as store:
        (whole,) = store.sql("SELECT * FROM set_tests").to_pylist()
    assert (whole["patients"], whole["reference_patients"]) == (5, 30)
    assert whole["p_value"] < 0.2  # three of five patients; of one of them only one of two images
    assert whole["share_low"] <= 3 / 5
    assert {line["membership"] for line in table(found, "nearest_generated")} == {"unlabelled", "not used"}
    assert any("Only decisions are calibrated" in line for line in found.as_dict()["caveats"])
    assert found.as_dict()["evaluation"] is None
    with Store.open(found.out / "synthtrace.duckdb", read_only=True) as store:  # further images change no names
        names = store.sql("SELECT name FROM images WHERE role = 'real'")["name"].to_pylist()
    assert {path.name for path in (images / "real").iterdir() if path.stem != "broken"} <= set(names)


@pytest.mark.usefixtures("few_pictures")
def test_labels_and_folders_must_not_contradict_each_other(images: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("p0_0.png,1\nnew.png,1\n")
    for folder in ("one", "other"):
        save(tmp_path / folder / "new.png", phantom(950))
    known: dict[str, Any] = {"labels": tmp_path / "labels.csv", "groups": r"^p\d_"}
    with pytest.raises(LabelsError, match=r"new\.png is said to be used and not to be used"):
        run(images, tmp_path / "out", **known, predictions=PredictionRequest(unused=tmp_path / "one"))
    facts = run(images, tmp_path / "out", **known, predictions=PredictionRequest(used=tmp_path / "one")).as_dict()
    assert (facts["labels"]["used"], facts["labels"]["not_used"]) == (2, 0)
    with pytest.raises(LabelsError, match="2 images have that name"):
        run(images, tmp_path / "out", **known, predictions=PredictionRequest(used=tmp_path / "one", unused=tmp_path / "other"))


@pytest.mark.usefixtures("few_pictures")
def test_a_method_that_was_asked_for_judges_or_is_refused(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(images, tmp_path / "out")
    with pytest.raises(MembershipError, match="--unused"):
        run(images, tmp_path / "out", predictions=PredictionRequest(["fusion"]))
    with pytest.raises(MembershipError, match="fusion cannot be primary"):
        run(images, tmp_path / "out", predictions=PredictionRequest(["phash"], primary="fusion"))
    with pytest.raises(MembershipError, match="no method is called 'guess'"):
        PredictionRequest(["guess"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        PredictionRequest(priors=(0.5, 1))
    monkeypatch.setattr(query.flow, "UNASKED", REALS)
    left = run(images, tmp_path / "out").as_dict()["decisions"]
    assert left["methods"] == {}
    assert "only by methods that are asked for" in left["refused"][0]
    assert set(run(images, tmp_path / "out", predictions=PredictionRequest(["phash"])).as_dict()["decisions"]["methods"]) == {
        "phash"
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": 50, "index": Settings(views={"sift": {}})}, ValueError, "bits of view phash"),
        ({"threshold": -1}, ValueError, "must not be negative"),
        ({"labels": Path("nowhere.csv")}, LabelsError, "nowhere.csv"),
        ({"groups": "nowhere.csv"}, GroupsError, "nowhere.csv"),
        ({"groups": "("}, GroupsError, "not a regular expression"),
        ({"predictions": PredictionRequest(unused=Path("nowhere"))}, NoImages, "nowhere"),
    ],
)
def test_mistakes_are_told_before_any_work(
    images: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(images, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_pictures_never_lie_among_the_images(images: Path) -> None:
    for inside in (images / "real" / "out", images / "generated", images / "real" / ".." / "real" / "a" / "b"):
        with pytest.raises(ValueError, match="its own pictures"):
            run(images, inside)
    with pytest.raises(ValueError, match="@FILE"):
        audit(["-"], [images / "generated"], images / "out")


def test_a_missing_side_is_told_before_any_work(images: Path, tmp_path: Path) -> None:
    for real, generated in (("nothing", "generated"), ("real", "nothing")):
        with pytest.raises(NoImages, match="nothing: no such"):
            audit([images / real], [images / generated], tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "csv").mkdir(parents=True)
    (tmp_path / "out" / "csv" / "thesis.csv").write_text("do not lose me")
    with pytest.raises(CollectionError, match="not empty"):
        run(images, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectionError, match="no folder"):
        run(images, tmp_path / "file")
    assert (tmp_path / "out" / "csv" / "thesis.csv").exists()


def test_names_that_are_not_utf8_have_pictures(tmp_path: Path) -> None:
    for n in range(3):
        save(tmp_path / "real" / f"{n}.png", phantom(n))
    (tmp_path / "generated").mkdir()
    strange = bytes(tmp_path / "generated") + b"/\xff.png"
    Path(strange.decode("utf-8", "surrogateescape")).write_bytes((tmp_path / "real" / "1.png").read_bytes())
    note: list[str] = []
    found = run(tmp_path, tmp_path / "out", note.append)
    assert found.as_dict()["closest_pairs"][0]["generated"] == "\\xff.png"
    assert len(list((found.out / "pairs").iterdir())) == 4
    assert not any("no picture" in line for line in note)


def test_pairs_are_matched_and_the_report_says_so(images: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"matching": MatchSettings(Budget(images=4)), "groups": ".*"}  # each image by itself
    found = run(images, tmp_path / "out", **options)
    told = found.as_dict()["matched"]
    assert (told["generated_images"], told["budget"]) == (4, "at most 4")
    with Store.open(found.out / "synthtrace.duckdb", read_only=True) as store:
        (kept,) = store.sql("SELECT pairs, controls, threshold, note FROM matching").to_pylist()
        above = "SELECT count(DISTINCT generated_id) AS n FROM matches WHERE value > (SELECT threshold FROM matching)"
        assert told["generated_above"] == store.sql(above)["n"][0].as_py()
    assert kept == {name: told[name] for name in kept}
    text = " ".join(found.details.split())
    assert f"Geometric matching (at most 4): 4 of 21 generated images, {kept['pairs']} pairs" in text
    assert " ".join(kept["note"].split()) in text
    assert (found.out / "report.html").stat().st_mode & 0o077 == 0
    again = run(images, tmp_path / "out", **options)
    assert again.as_dict() == found.as_dict()


@pytest.mark.slow
def test_with_parquet_files_everything_is_the_same(done: Audit, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    shutil.copytree(done.out, out)
    groups = r"^(p4_9|p\d)"
    options: dict[str, Any] = {"index": VIEWS, "labels": images / "labels.csv", "groups": groups, "threshold": THRESHOLD}
    for _ in range(2):  # the second one takes the place of the first
        run(images, out, **options, parquet_above=0, quality=100)
        for folder in ("csv", "evaluation", "plots"):
            assert {path.name: path.read_bytes() for path in (out / folder).iterdir()} == {
                path.name: path.read_bytes() for path in (done.out / folder).iterdir()
            }
        files = [path for path in (out / "synthtrace.tables").rglob("*") if path.is_file()]
        with Store.open(out / query.flow.DATABASE, read_only=True) as store, Store.open(done.out / query.flow.DATABASE) as plain:
            assert sorted(file.place(out) for file in store.parquet_files) == sorted(files)
            assert {file.table_name for file in store.parquet_files} == {"images", "codes", "neighbours", "scores"}
            for table in set(plain.tables()) - {"runs", "duplicate_searches", "parquet_files"}:  # two of them hold when
                asked = f'SELECT * FROM "{table}" ORDER BY ALL'
                assert store.sql(asked).equals(plain.sql(asked)), table
    run(images, out, **options)
    assert not (out / "synthtrace.tables").exists()
