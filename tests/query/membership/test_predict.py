"""Command predict on small folders in which copies are planted, and the library behind it."""

import csv
import json
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from embeddings.phantoms.slices import copy_of
from indexer.collection import Collection
from query.cli.group import program
from query.database.store import Store
from query.evaluation.resampling import auroc
from query.inputs.images import images_of
from query.inputs.labels import LabelsError, labels_of_folders
from query.membership.case import MembershipError
from query.membership.cross_fit import PredictionSettings
from query.membership.methods.registry import QUICK, make_method
from query.membership.predict import PredictionRequest, chosen, predict_where_able
from query.report.run_summary import run_warnings
from tests.helpers.cases import planted, told
from tests.helpers.making import slice_of, write_image

UNKNOWN, UNUSED, KNOWN_USED = 16, 24, 14
NAMES = [f"real_unknown_{number:04d}.png" for number in range(1, UNKNOWN + 1)]
TRUTH = {name: number % 2 == 0 for number, name in enumerate(NAMES)}
BLANK = np.full((64, 64), 90, np.uint8)


@dataclass(frozen=True)
class World:
    """Folders of images, the collection of the generated ones, and a run of `predict` on all of it, that no test changes."""

    folder: Path
    answer: dict[str, Any]

    @property
    def generated(self) -> Path:
        return self.folder / "g.c"

    @property
    def db(self) -> Path:
        return self.folder / "results.duckdb"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def ok(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refused(result: Result) -> str:
    """The one line on standard error behind which nothing was done."""
    assert result.exit_code == 2, (result.exit_code, result.stdout)
    last = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    return last


def base(name: str) -> str:
    return Path(name).name


def by_name(answer: dict[str, Any], method: str) -> dict[str, dict[str, Any]]:
    return {base(entry["image"]): entry for entry in answer["methods"][method]["images"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    for name in ("unknown", "unused", "used", "generated"):
        (folder / name).mkdir()
    for number, name in enumerate(NAMES):
        write_image(folder / "unknown" / name, slice_of(number))
    for number in range(UNUSED):
        write_image(folder / "unused" / f"not_used_{number:04d}.png", slice_of(100 + number))
    for number in range(KNOWN_USED):
        write_image(folder / "used" / f"used_{number:04d}.png", slice_of(200 + number))
    copied = [number for number, name in enumerate(NAMES) if TRUTH[name]] + [200 + number for number in range(KNOWN_USED)]
    made = [copy_of(slice_of(seed), 1, rng) for seed in copied for _ in range(3)] + [slice_of(300 + seed) for seed in range(30)]
    for number, image in enumerate(made):
        write_image(folder / "generated" / f"generated_{number:05d}.png", image)
    index = run("index", folder / "generated", "--out", folder / "g.c", "--view", "phash", "--view", "pixels")
    assert index.exit_code == 0, index.stderr
    answer = ok(decided(folder, folder / "results.duckdb", "--method", "fusion-learned", *quick()))
    return World(folder, answer)


def quick() -> list[str]:
    """The quick methods that phash and pixels suffice for."""
    return [word for name in ("fusion", "reference", "hubness", "phash") for word in ("--method", name)]


def decided(folder: Path, db: Path, *more: object) -> Result:
    known = ("--used", folder / "used", "--unused", folder / "unused")
    return run("predict", folder / "unknown", folder / "g.c", *known, "--db", db, "--json", *more)


# What it says and keeps


def test_planted_copies_are_found(world: World) -> None:
    assert world.answer["failed"] == 0
    assert list(world.answer["methods"]) == ["fusion-learned", "fusion", "reference", "hubness", "phash"]
    for method, found in world.answer["methods"].items():
        images = by_name(world.answer, method)
        assert len(images) == UNKNOWN + UNUSED + KNOWN_USED
        values = np.array([images[name]["value"] for name in NAMES])
        if method != "hubness":  # three copies drown among 96 images that name ten of 54 each
            assert auroc(values, np.array([TRUTH[name] for name in NAMES])) > 0.95, method
        assert {images[name]["role"] for name in NAMES} == {"unlabelled"}
        assert {entry["role"] for name, entry in images.items() if name not in NAMES} == {"cross-fitted"}
        assert (found["used"], found["not_used"], found["generated"]) == (KNOWN_USED, UNUSED, 96)


def test_the_primary_method_alone_answers(world: World) -> None:
    for method in world.answer["methods"]:
        entries = by_name(world.answer, method).values()
        assert {entry["answer"] is None for entry in entries} == {method != "fusion"}
        assert {entry["q_value"] is None for entry in entries} == {method != "fusion"}
    fusion = by_name(world.answer, "fusion")
    assert [fusion[name]["used"] for name in NAMES] == list(TRUTH.values())
    assert not [name for name in NAMES if fusion[name]["answer"] == "used" and not TRUTH[name]]
    assert all(0 < fusion[name]["p_value"] <= 1 for name in NAMES)
    assert all(0 < fusion[name]["probability_low"] < fusion[name]["probability_high"] < 1 for name in NAMES)


def test_the_database_holds_what_was_said(world: World) -> None:
    with Store.open(world.db, read_only=True) as store:
        for method, found in world.answer["methods"].items():
            rows = store.sql(
                "SELECT i.name, d.used, d.answer, d.role, d.value, d.p_value, d.q_value, d.probability_low, d.probability_high, "
                "d.threshold FROM decisions d JOIN images i USING (run_id, image_id) "
                "WHERE d.method = $method AND i.role = 'real' ORDER BY i.image_id",
                {"method": method},
            ).to_pylist()
            assert [row["name"] for row in rows] == [entry["image"] for entry in found["images"]]
            for row, entry in zip(rows, found["images"], strict=True):
                for column in ("used", "answer", "role", "value", "p_value", "q_value", "probability_low", "probability_high"):
                    assert row[column] == entry[column] or (entry[column] is None and row[column] != row[column]), column
                assert row["used"] == (row["value"] >= row["threshold"])
        methods = store.sql("SELECT * FROM methods").to_pylist()
        labels = store.sql("SELECT used, count(*) AS n FROM labels GROUP BY used ORDER BY used").to_pylist()
        (kept,) = store.sql("SELECT command, finished IS NOT NULL AS done FROM runs").to_pylist()
    assert kept == {"command": "predict", "done": True}
    assert [(row["used"], row["n"]) for row in labels] == [(False, UNUSED), (True, KNOWN_USED)]
    assert [row["method"] for row in methods] == list(world.answer["methods"])
    for row in methods:
        note = world.answer["methods"][row["method"]]
        assert (row["calibrated"], row["note"], row["needs"]) == (note["calibrated"], note["note"], note["needs"])
        assert json.loads(row["facts"])["generated"] == 96


@pytest.mark.parametrize("given", [False, True])
def test_p_values_of_scores_are_those_of_the_formula(given: bool, world: World, tmp_path: Path) -> None:
    db = world.db
    if given:  # unlabelled and some used images share patients; some of the reference have others, or they would be refused
        kinds = (("used_", "p"), ("not_used_", "q"))
        shared = ["image,group"] + [f"{name}{number:04d},{whose}{number % 4}" for name, whose in kinds for number in range(9)]
        shared += [f"{Path(name).stem},p{number % 7}" for number, name in enumerate(NAMES)]
        (tmp_path / "groups.csv").write_text("\n".join(shared))
        db = tmp_path / "a.duckdb"
        ok(decided(world.folder, db, "--method", "phash", "--groups", tmp_path / "groups.csv"))
    with Store.open(db, read_only=True) as store:
        rows = store.sql(
            'SELECT s.view, s.score, s.value, s.p_value, i.image_id, i."group", l.used '
            "FROM scores s JOIN images i USING (run_id, image_id) LEFT JOIN labels l USING (run_id, image_id) "
            "WHERE i.role = 'real'"
        ).to_pylist()
        of_generated = store.sql(
            "SELECT count(p_value) AS n FROM scores JOIN images USING (run_id, image_id) WHERE role = 'generated'"
        ).to_pylist()
    assert len({row["group"] for row in rows} - {None}) == 11 or not given
    assert {row["score"] for row in rows} >= {"d1", "mean_k", "d1_d2", "margin", "nearest_count", "density", "d1_d50"} - {
        "d1_d50"
    }
    assert len(rows) > 54 * 2 * 5
    sets: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        sets.setdefault((row["view"], row["score"]), []).append(row)
    for (_, score), of_score in sets.items():
        sign = 1 if score in ("margin", "nearest_count") else -1
        for row in of_score:
            reference = [
                other["value"] * sign
                for other in of_score
                if other["used"] is False
                and other["image_id"] != row["image_id"]
                and (other["group"] is None or other["group"] != row["group"])
            ]
            nearer = sum(value >= row["value"] * sign for value in reference)
            assert row["p_value"] == pytest.approx((1 + nearer) / (len(reference) + 1))
    assert of_generated == [{"n": 0}]


def test_the_text_says_what_it_stands_on(world: World, tmp_path: Path) -> None:
    known = ("--unused", world.folder / "unused")
    result = run("predict", world.folder / "unknown", world.generated, *known, "--db", tmp_path / "a.duckdb", *quick())
    assert result.exit_code == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "16 unlabelled real images, 24 labelled (0 used, 24 not used), against 96 generated images." in text
    assert "Primary method fusion." in text
    assert "Reference: 24 groups (24 images known not to be used). The smallest p-value that so many can give is 0.04." in text
    assert "P(used): not available" in text
    assert "exploratory" in text
    assert '"no evidence found" is not "safe to release"' in text
    uncalibrated = run("predict", world.folder / "unknown", world.generated, "--db", tmp_path / "b.duckdb", "--method", "phash")
    nobody = "Nobody can be called used. Without images that are known not to be used, phash has no p-value."
    assert nobody in " ".join(uncalibrated.stdout.split())


def test_too_small_a_reference_is_told(world: World, tmp_path: Path) -> None:
    known = ("--unused", world.folder / "unused", "--fdr", 0.001)
    result = run(
        "predict", world.folder / "unknown", world.generated, *known, "--db", tmp_path / "a.duckdb", "--method", "fusion"
    )
    assert "WARNING: with so few, none of 16 groups can ever be called used" in " ".join(result.stdout.split())


# Folders, labels, names


@pytest.fixture(scope="module")
def mixed(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """All real images in one folder, under names of another order, and the CSV of what is known of them."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "real").mkdir()
    lines: list[tuple[str, str]] = []
    for name in ("unknown", "used", "unused"):
        for path in sorted((world.folder / name).iterdir()):
            shutil.copy(path, folder / "real" / f"{len(lines) * 37 % 101:03d}_{path.name}")
            lines.append((f"{len(lines) * 37 % 101:03d}_{path.name}", name))
    table = "".join(f"{name},{int(kind == 'used')}\n" for name, kind in lines if kind != "unknown")
    (folder / "labels.csv").write_text("image,used\n" + table)
    return folder / "real", folder / "labels.csv"


def test_labels_say_the_same_as_folders_whatever_the_names(world: World, mixed: tuple[Path, Path], tmp_path: Path) -> None:
    real, labels = mixed
    more = ("--labels", labels, "--db", tmp_path / "a.duckdb", "--json", "--method", "fusion-learned", *quick())
    other = ok(run("predict", real, world.generated, *more))
    for method in world.answer["methods"]:
        first, second = by_name(world.answer, method), by_name(other, method)
        assert len(first) == len(second)
        again = {name[4:]: entry for name, entry in second.items()}
        for name, entry in first.items():
            match = again[name]
            for column in ("used", "answer", "role"):
                assert match[column] == entry[column], (method, name, column)
            for column in ("value", "p_value", "q_value", "probability_low", "probability_high"):
                # another order of images is other rounding (AVX2), and weights learned of few images enlarge it
                near = 2e-2 if method == "fusion-learned" else 1e-5
                expected = entry[column] if entry[column] is None else pytest.approx(entry[column], abs=near)
                assert match[column] == expected, (method, name, column)


def test_a_collection_with_labels_will_do(world: World, mixed: tuple[Path, Path], tmp_path: Path) -> None:
    real, labels = mixed
    more = ("--labels", labels, "--json", "--method", "fusion")
    one = ok(run("predict", real, world.generated, "--db", tmp_path / "a.duckdb", *more))
    shutil.move(tmp_path / "a.real", tmp_path / "r.c")
    assert one == ok(run("predict", tmp_path / "r.c", world.generated, "--db", tmp_path / "b.duckdb", *more))
    known = ("--unused", world.folder / "unused", "--db", tmp_path / "c.duckdb")
    assert "for a collection say what is known by --labels" in refused(run("predict", tmp_path / "r.c", world.generated, *known))
    assert not (tmp_path / "c.duckdb").exists()


@pytest.mark.parametrize("fault", ["table", "suffix", "both folders"])
def test_contradictions_are_refused(fault: str, world: World, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"not_used_0003{'' if fault == 'suffix' else '.png'},1\n")
    unused = world.folder / "unused"
    known = ("--used", unused, "--unused", unused) if fault == "both folders" else ("--unused", unused, "--labels", labels)
    if fault == "table":
        labels.write_text("unused/not_used_0003.png,1\n")
    line = refused(run("predict", world.folder / "unknown", world.generated, *known, "--db", tmp_path / "a.duckdb"))
    assert "is said to be used and not to be used; say one of both" in line
    assert "not_used_0000.png" in line if fault == "both folders" else "not_used_0003.png" in line
    assert not (tmp_path / "a.models").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--method", "fusion"],
            "fusion: too few groups (patients) among the images known not to be used; name more with --unused DIR",
        ),
        (["--method", "reference"], "name them with --unused DIR"),
        (["--method", "fusion-learned"], "--used DIR and --unused DIR"),
        (["--method", "self-threshold"], "self-threshold needs view resnet, which the collection lacks"),
        (["--method", "phash", "--primary", "cnn"], "cnn"),
        (["--method", "nonsense"], "nonsense"),
        (["--model", "FILE"], "no model that `synthtrace predict` saved"),
        (["--labels", "FILE"], "none of its 1 name is among the images"),
    ],
)
def test_mistakes_end_in_one_line(more: list[str], message: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("z.png,1\n")
    arguments = [str(tmp_path / "file.csv") if word == "FILE" else word for word in more]
    assert message in refused(
        run("predict", world.folder / "unknown", world.generated, "--db", tmp_path / "a.duckdb", *arguments)
    )


def test_a_broken_image_is_told_and_the_others_are_judged(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder / "unknown", tmp_path / "unknown")
    (tmp_path / "unknown" / "bad.png").write_bytes(b"no image")
    write_image(tmp_path / "unknown" / "blank.png", BLANK)
    more = ("--unused", world.folder / "unused", "--db", tmp_path / "a.duckdb", "--json", *quick())
    result = run("predict", tmp_path / "unknown", world.generated, *more)
    assert result.exit_code == 3
    assert "bad.png" in result.stderr
    answer = json.loads(result.stdout)
    assert answer["failed"] == 1
    for method in answer["methods"]:
        images = by_name(answer, method)
        assert "bad.png" not in images
        assert [name for name, entry in images.items() if entry["used"] is None] == ["blank.png"], method
        assert images["blank.png"]["value"] is None
        assert images["blank.png"]["answer"] == ("undecided" if method == "fusion" else None)


def test_flipped_copies_are_found_with_mirror(world: World, tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    rng = np.random.default_rng(1)
    for number, name in enumerate(NAMES):
        if TRUTH[name]:
            write_image(tmp_path / "generated" / f"{number}.png", np.fliplr(copy_of(slice_of(number), 1, rng)))
    for number in range(80):
        write_image(tmp_path / "generated" / f"g{number}.png", slice_of(300 + number))
    made = run("index", tmp_path / "generated", "--out", tmp_path / "g.c", "--view", "phash", "--view", "pixels")
    assert made.exit_code == 0
    areas = []
    for number, mirror in enumerate([[], ["--mirror"]]):
        more = ("--unused", world.folder / "unused", "--db", tmp_path / f"{number}.duckdb", "--json", "--method", "fusion")
        images = by_name(ok(run("predict", world.folder / "unknown", tmp_path / "g.c", *more, *mirror)), "fusion")
        areas.append(auroc(np.array([images[name]["value"] for name in NAMES]), np.array(list(TRUTH.values()))))
    assert areas[0] < 0.85
    assert areas[1] > 0.95


# Models


def test_models_lie_beside_the_database_for_their_owner(world: World) -> None:
    folder = world.folder / "results.models"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(world.answer["methods"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_model_judges_other_images_without_labels(world: World, tmp_path: Path) -> None:
    model = world.folder / "results.models" / "fusion-learned.safetensors"
    more = ("--model", model, "--db", tmp_path / "a.duckdb", "--json")
    answer = ok(run("predict", world.folder / "unknown", world.generated, *more))
    assert list(answer["methods"]) == ["fusion-learned"]
    images = by_name(answer, "fusion-learned")
    assert [images[name]["used"] for name in NAMES] == list(TRUTH.values())
    assert all(entry["probability_low"] is not None for entry in images.values())
    assert {entry["answer"] for entry in images.values()} <= {"undecided", "not used"}  # it is primary, but without p-values
    assert not (tmp_path / "a.models").exists()
    seen = by_name(ok(run("predict", world.folder / "used", world.generated, *more)), "fusion-learned")
    assert {entry["role"] for entry in seen.values()} == {"seen"}


def test_a_model_handed_on_does_not_know_its_images_again(world: World, tmp_path: Path) -> None:
    """Alone it holds nothing that its images could be told by, and says that it cannot tell."""
    for name in ("fusion-learned", "phash"):
        shutil.copy(world.folder / "results.models" / f"{name}.safetensors", tmp_path)
    models = [part for name in ("fusion-learned", "phash") for part in ("--model", tmp_path / f"{name}.safetensors")]
    answer = ok(run("predict", world.folder / "used", world.generated, *models, "--db", tmp_path / "a.duckdb", "--json"))
    roles = {method: {entry["role"] for entry in answer["methods"][method]["images"]} for method in answer["methods"]}
    assert roles == {"fusion-learned": {"perhaps seen"}, "phash": {"unlabelled"}}  # phash learns nothing
    assert "may have seen these" in answer["methods"]["fusion-learned"]["note"]
    text = run("predict", world.folder / "used", world.generated, *models, "--db", tmp_path / "b.duckdb").stdout
    assert f"Of {KNOWN_USED} unlabelled images" in text


def test_a_model_of_fewer_generated_images_is_refused_unless_matched(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.folder / "generated", tmp_path / "generated")
    for number in range(10):
        write_image(tmp_path / "generated" / f"more_{number}.png", slice_of(600 + number))
    made = run("index", tmp_path / "generated", "--out", tmp_path / "g.c", "--view", "phash", "--view", "pixels")
    assert made.exit_code == 0
    model = world.folder / "results.models" / "fusion-learned.safetensors"
    command = ("predict", world.folder / "unknown", tmp_path / "g.c", "--model", model, "--db", tmp_path / "a.duckdb")
    assert "found with 96 generated images and means nothing for 106: match it by --draws 20" in refused(run(*command))
    answer = ok(run(*command, "--draws", 3, "--json"))
    assert "Mean over 3 draws of 96 generated images" in answer["methods"]["fusion-learned"]["note"]


# What comes after


def test_evaluate_and_submit_work_on_it(world: World, tmp_path: Path) -> None:
    db, truth = tmp_path / "results.duckdb", tmp_path / "truth.csv"
    shutil.copy(world.db, db)
    truth.write_text("image,used\n" + "".join(f"{Path(name).stem},{int(used)}\n" for name, used in TRUTH.items()))
    facts = ok(run("evaluate", "--db", db, "--labels", truth, "--json"))
    assert set(facts["methods"]) == set(world.answer["methods"])
    assert facts["methods"]["fusion"]["images"] == UNKNOWN
    own = ok(run("evaluate", "--db", db, "--method", "fusion", "--json"))
    assert own["methods"]["fusion"]["images"] == UNUSED + KNOWN_USED
    done = run("submit", "--db", db, "--method", "fusion", "--out", tmp_path / "run.csv")
    assert done.exit_code == 0, done.stderr
    with open(tmp_path / "run.csv", newline="", encoding="utf-8") as file:
        assert dict(csv.reader(file)) == {Path(name).stem: str(int(used)) for name, used in TRUTH.items()}


# The library


def test_without_names_those_judge_that_can() -> None:
    case, truth = planted(0, used=20, unused=20, each=2)
    assert [method.name for method in chosen([], {}, case)] == ["self-threshold", "phash"]
    assert [method.name for method in chosen([], {}, told(case, truth))] == list(QUICK)
    assert [method.name for method in chosen(["phash", "hubness", "phash"], {}, case)] == ["phash", "hubness"]


def test_who_cannot_judge_is_left_out_and_the_next_is_primary() -> None:
    case, truth = planted(0, used=20, unused=20, each=2, groups=1)
    few = told(case, truth, np.flatnonzero(~truth)[:1])  # one patient is no reference
    methods = [make_method(name) for name in ("fusion", "phash", "self-threshold")]
    found = predict_where_able(few, methods, PredictionSettings(primary="fusion"))
    assert [each.method for each in found.methods] == ["phash", "self-threshold"]
    assert [each.facts["primary"] for each in found.methods] == [True, False]
    assert len(found.refused) == 1
    assert "fusion: too few groups" in found.refused[0]
    assert json.loads(json.dumps(found.as_dict()))["refused"] == found.refused


def test_what_is_primary_is_named_before_anything_is_judged() -> None:
    methods = [make_method(name) for name in ("phash", "fusion", "hubness")]
    assert PredictionRequest().terms(methods).primary == "fusion"
    assert PredictionRequest().terms(methods[::2]).primary == "phash"
    assert PredictionRequest(primary="hubness", fdr=0.2, priors=(0.3, 0.4)).terms(methods, 4) == PredictionSettings(
        "hubness", 0.2, (0.3, 0.4), draws=4
    )
    with pytest.raises(MembershipError, match=r"^hubness cannot be primary, since it does not predict \(phash\)"):
        PredictionRequest(primary="hubness").terms(methods[:1])
    with pytest.raises(MembershipError, match="no method is called"):
        PredictionRequest(methods=["psychic"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        PredictionRequest(fdr=0)


def test_labels_of_folders_are_those_of_the_files_in_them(world: World) -> None:
    real = images_of(Collection(world.folder / "results.real"))
    folders = world.folder / "used", world.folder / "unused"
    found = labels_of_folders(real, {"real_unknown_0001": True}, *folders)
    assert {base(real.names[row]): used for row, used in found.items()} == {
        NAMES[0]: True,
        **{f"used_{number:04d}.png": True for number in range(KNOWN_USED)},
        **{f"not_used_{number:04d}.png": False for number in range(UNUSED)},
    }
    with pytest.raises(LabelsError, match="say one of both"):
        labels_of_folders(real, {"used_0000": False}, *folders)
    every = labels_of_folders(real, {}, None, folders[1], all_used=True)
    assert every == {row: not real.path(row).is_relative_to(folders[1]) for row in range(len(real.names))}


# The reference


def test_a_brighter_reference_is_refused_before_anything_is_compared_or_ignored_loudly(world: World, tmp_path: Path) -> None:
    (tmp_path / "dark").mkdir()
    for number in range(UNUSED):
        write_image(tmp_path / "dark" / f"not_used_{number:04d}.png", slice_of(100 + number) // 3)
    asked = ("predict", world.folder / "unknown", world.generated, "--unused", tmp_path / "dark", "--method", "phash-calibrated")
    line = refused(run(*asked, "--db", tmp_path / "a.duckdb"))
    assert "no p-value is shown" in line
    assert "unlabelled images are brighter (" in line
    assert not (tmp_path / "a.duckdb").exists()
    answer = ok(run(*asked, "--db", tmp_path / "a.duckdb", "--reference-mismatch", "ignore", "--json"))
    assert any("NOTHING IS PROMISED" in line for line in answer["warnings"])
    assert answer["reference"]["check"]["verdict"] == "different"
    with Store.open(tmp_path / "a.duckdb", read_only=True) as store:
        assert "NOTHING IS PROMISED" in run_warnings(store, answer["run"])[0]
    assert "weights cannot repair this reference" in refused(
        run(*asked, "--db", tmp_path / "b.duckdb", "--reference-mismatch", "weight")
    )
