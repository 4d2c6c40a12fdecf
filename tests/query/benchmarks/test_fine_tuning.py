"""Training on one's own images: what is held out, resuming, refusals, what is written."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from embeddings.training.trainer import Pictures
from embeddings.views.network import copy_network, save_copy_network
from embeddings.views.resnet_settings import WeightsError
from indexer.build.build import Settings, build, silent
from indexer.files import Locked, locked
from indexer.salt import Salt
from query.benchmarks import fine_tuning
from query.benchmarks.benchmark import BenchmarkSettings, Slice, write_benchmark
from query.benchmarks.fine_tuning import Outcome, Tuning, TuningError, TuningSettings, TuningTask, tune
from query.benchmarks.source_finding import read_benchmark
from query.evaluation.resampling import Estimate
from query.flow import quiet
from query.inputs.groups import GroupsError, groups_from_table
from tests.helpers.making import noise, write_frames, write_image
from tests.helpers.places import ROOT

SINGLE = 206  # images of one frame, that are unlike each other
QUICK = TuningSettings(steps=3, batch=8, size=32, generated=60)


class Stop(Exception):
    """Ends a training where a test has seen enough."""


def save_start(path: Path) -> Path:
    save_copy_network(copy_network(0), path, {})
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and start weights that no test changes: single ones, one twice, a file of three frames, a blank and a bad one."""
    folder = tmp_path_factory.mktemp("world")
    images = folder / "images"
    images.mkdir()
    for number in range(SINGLE):
        write_image(images / f"p{number // 2:03d}_{number:03d}.png", noise(number))
    write_image(images / "p900_twin.png", np.clip(noise(0).astype(int) + 2, 0, 255).astype(np.uint8))
    write_frames(images / "p901.tif", [noise(number) for number in (300, 301, 302)])
    write_image(images / "p902_blank.png", np.full((30, 30), 9, np.uint8))
    (images / "p903_bad.png").write_bytes(b"no image")
    save_start(folder / "start.safetensors")
    return folder


@dataclass
class Run:
    """An undisturbed training, and what came by."""

    found: Tuning
    note: list[str]
    pictures: Pictures
    slices: list[Slice]
    folders: list[tuple[Path, int]]  # of benchmarks, with their permissions


@pytest.fixture(scope="module")
def run(world: Path) -> Run:
    note: list[str] = []
    seen: dict[str, Any] = {}
    folders: list[tuple[Path, int]] = []

    def writing(out: Path, settings: BenchmarkSettings, *, slices: list[Slice], **options: Any) -> None:
        seen["slices"] = slices
        write_benchmark(out, settings, slices=slices, **options)

    def reading(folder: Path) -> Any:
        folders.append((folder, stat.S_IMODE(folder.stat().st_mode) | stat.S_IMODE(folder.parent.stat().st_mode)))
        return read_benchmark(folder)

    def keeping(*arguments: Any) -> Pictures:
        seen["pictures"] = Pictures(*arguments)
        return Pictures(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fine_tuning, "write_benchmark", writing)
        patch.setattr(fine_tuning, "read_benchmark", reading)
        patch.setattr(fine_tuning, "Pictures", keeping)
        found = go(world, world / "whole.safetensors", say=note.append)
    return Run(found, note, seen["pictures"], seen["slices"], folders)


def go(world: Path, out: Path, **options: Any) -> Tuning:
    return tune_on(**{"images": world / "images", "out": out, "start": world / "start.safetensors", **options})


def tune_on(*, settings: TuningSettings = QUICK, progress: Any = silent, say: Any = quiet, **task: Any) -> Tuning:
    return tune(TuningTask(**{"device": "cpu", **task}), settings, progress=progress, say=say)


def picture(s: Slice) -> NDArray[np.uint8]:
    """What a slice that is held out was made from."""
    return np.asarray(s.load.args[0])  # type: ignore[attr-defined]


def card(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return dict(json.loads(file.metadata()["synthtrace copies"]))


# What is held out


def test_images_held_out_never_train(run: Run) -> None:
    trained = {pixels.tobytes() for pixels in run.pictures.pixels}
    held = {picture(s).tobytes() for s in run.slices}
    assert len(trained) + len(held) == SINGLE + 4
    assert trained.isdisjoint(held)
    assert run.found.images == (len(trained), len(held)) == (158, 52)
    assert all(np.abs(picture(s).astype(int) - run.pictures.pixels).max(axis=(1, 2)).min() > 9 for s in run.slices)  # nor twins


def test_near_duplicates_and_frames_are_one_group(run: Run) -> None:
    group = {pixels.tobytes(): int(family) for pixels, family in zip(run.pictures.pixels, run.pictures.families, strict=True)}
    group |= {picture(s).tobytes(): int(s.group) for s in run.slices}
    assert sum(run.found.groups) == len(set(group.values())) == SINGLE + 1
    sizes = np.bincount(list(group.values()))
    assert sorted(sizes[sizes > 1]) == [2, 3]
    resized = [fine_tuning._square(noise(number), fine_tuning.SIDE).tobytes() for number in (300, 301, 302)]
    assert len({group[pixels] for pixels in resized}) == 1


def test_named_groups_stay_whole(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def stop(*arguments: Any) -> None:
        seen.extend(arguments)
        raise Stop

    monkeypatch.setattr(fine_tuning, "_benchmark", stop)
    with pytest.raises(Stop):
        go(world, tmp_path / "a.safetensors", groups=r"^p\d+")
    _, stock, deal, *_ = seen
    patients = [name[:4] for name in stock.names]
    assert len(set(zip(patients, deal.families.tolist(), strict=True))) == len(set(patients)) == len(set(deal.families.tolist()))
    assert {patients[row] for row in deal.train}.isdisjoint(patients[row] for row in deal.held_out)
    assert sorted([*deal.train, *deal.held_out]) == list(range(len(patients)))
    assert 40 <= len(deal.held_out) <= 0.25 * len(patients)
    assert list(tmp_path.iterdir()) == []


def test_another_seed_holds_out_others(world: Path) -> None:
    families = np.repeat(np.arange(100), 3)
    names, digests = [f"{n}_{i}" for i, n in enumerate(families)], [str(i) for i in range(300)]
    stock = fine_tuning._Stock(np.empty((300, 0), np.uint8), names, digests, [""] * 300, 0, [], Salt.random())
    grouping = groups_from_table({name: name.split("_")[0] for name in names})
    rows = [fine_tuning._deal(stock, grouping, replace(QUICK, seed=seed)).held_out.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("sizes", [[1] * 50, [7] * 14, [40, 1, 1, 9, 30], [25, 25], [3]])
def test_two_halves_always_fit(sizes: list[int]) -> None:
    """However whole groups are dealt out, that many images come to lie on both sides."""
    half = fine_tuning._half(np.array(sizes))
    assert half <= sum(sizes) // 2
    for seed in range(200):
        sides = [0, 0]
        for size in np.random.default_rng(seed).permutation(sizes):
            if min(sides) < half:
                sides[int(np.argmin(sides))] += min(int(size), half - min(sides))
        assert min(sides) >= half


# Files


def test_the_benchmark_was_for_its_owner_only_and_is_gone(run: Run, world: Path) -> None:
    ((folder, mode),) = run.folders
    assert mode == 0o700
    assert not folder.exists()
    assert not folder.parent.exists()


def test_the_benchmark_goes_after_an_error_too(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        assert any((folder / "real").iterdir())
        raise Stop

    monkeypatch.setattr(fine_tuning, "read_benchmark", fail)
    with pytest.raises(Stop):
        go(world, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_card_tells_figures_and_no_names(run: Run, world: Path) -> None:
    told = card(run.found.out)
    assert told["before"] == run.found.before
    assert told["after"] == run.found.after
    assert told["change"]["value"] == pytest.approx(run.found.after["all"] - run.found.before["all"])
    assert told["images"] == {"trained": 158, "held_out": 52, "blank": 1, "unreadable": 1}
    assert (told["recipe"]["steps"], told["recipe"]["batch"], told["settings"]["seed"]) == (3, 8, 0)
    text = json.dumps(told)
    assert not any(word in text for word in ("p903", "p000", str(world), "start.safetensors", ".png"))
    assert stat.S_IMODE(run.found.out.stat().st_mode) == 0o600


def test_what_could_not_be_read_is_told(run: Run) -> None:
    ((path, reason),) = run.found.failed
    assert Path(path).name == "p903_bad.png"
    assert "the content is no image" in reason
    assert run.found.as_dict()["failures"] == [{"path": path, "reason": reason}]
    assert "1 blank images take no part" in run.note
    assert any("no groups were given" in line for line in run.note)


def test_the_weights_can_be_used(run: Run, world: Path, tmp_path: Path) -> None:
    views = {"resnet": {"weights": str(run.found.out), "size": 32}}
    made = build(tmp_path / "c", world / "images", settings=Settings(views=views, sample_size=80), device="cpu")
    assert made.vectors("resnet").shape[0] == len(made) == SINGLE + 5
    assert str(run.found.out) in made.manifest.views["resnet"].note


def test_training_changed_the_weights(run: Run, world: Path) -> None:
    with safe_open(run.found.out, "pt") as new, safe_open(world / "start.safetensors", "pt") as old:
        assert set(new.keys()) == set(old.keys())
        assert not torch.equal(new.get_tensor("conv1.weight"), old.get_tensor("conv1.weight"))
    assert run.found.generated["all"] == sum(n for kind, n in run.found.generated.items() if kind != "all") == 60


# Resuming

KILLED = """
import os, signal, sys
from pathlib import Path
from query.benchmarks import fine_tuning
fine_tuning.SAVE_EVERY = 1
def progress(stage, done, total):
    if (stage, done) == ("training", 2):  # after this step, before its state is saved
        os.kill(os.getpid(), signal.SIGKILL)
world = Path(sys.argv[1])
settings = fine_tuning.TuningSettings(steps=3, batch=8, size=32, generated=60)
task = fine_tuning.TuningTask(world / "images", Path(sys.argv[2]), start=world / "start.safetensors", device="cpu")
fine_tuning.tune(task, settings, progress=progress)
"""


@pytest.fixture(scope="module")
def killed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was killed after two steps."""
    out = tmp_path_factory.mktemp("killed") / "a.safetensors"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command: list[str | Path] = [sys.executable, "-c", KILLED, world, out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return out.with_name("a.safetensors.work")


def again(killed: Path, folder: Path) -> Path:
    """Where a training goes on from a copy of the killed one."""
    shutil.copytree(killed, folder / killed.name)
    return folder / "a.safetensors"


def test_a_killed_training_goes_on_to_the_same_bytes(run: Run, world: Path, killed: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(killed.stat().st_mode) == 0o700
    assert not (killed / "benchmark").exists()
    out = again(killed, tmp_path)
    note: list[str] = []
    steps: list[int] = []
    go(world, out, say=note.append, progress=lambda stage, done, _: steps.append(done) if stage == "training" else None)
    assert "going on after step 1 of 3" in note
    assert steps == [1, 2, 3]
    assert out.read_bytes() == run.found.out.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_with_other_settings_it_begins_anew_and_says_so(world: Path, killed: Path, tmp_path: Path) -> None:
    out = again(killed, tmp_path)
    note: list[str] = []

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "training":
            assert done == 0
            raise Stop

    with pytest.raises(Stop):
        go(world, out, settings=replace(QUICK, seed=1), say=note.append, progress=stop)
    assert f"{tmp_path / killed.name} is of other images or settings; training begins anew" in note


def test_two_at_once_are_refused(world: Path, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors.work").mkdir()
    with locked(tmp_path / "a.safetensors.work"), pytest.raises(Locked, match="in use by another process"):
        go(world, tmp_path / "a.safetensors")


# Refusals


def few(world: Path, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "few").mkdir()
    write_image(tmp_path / "few" / "a.png", noise(1))
    (tmp_path / "few" / "b.png").write_bytes(b"")
    return {"images": tmp_path / "few"}


def in_the_way(world: Path, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "a.safetensors.work").mkdir()
    (tmp_path / "a.safetensors.work" / "mine.txt").write_text("mine")
    return {}


def table(world: Path, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "groups.csv").write_text("image,group\nnobody.png,a\n")
    return {"groups": str(tmp_path / "groups.csv")}


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        (lambda w, t: {"out": t / "a.pth"}, TuningError, r"written as \.safetensors"),
        (lambda w, t: {"out": t / "no" / "a.safetensors"}, TuningError, "there is no folder"),
        (lambda w, t: {"out": w / "images" / "a.safetensors"}, TuningError, "lies inside"),
        (few, TuningError, r"few: 1 usable image \(0 blank, 1 file unreadable, .*b.png: .*\); training needs at least 200"),
        (in_the_way, TuningError, "is in the way"),
        (lambda w, t: {"settings": replace(QUICK, batch=200)}, TuningError, "a batch of 200 is more than the 15. groups"),
        (lambda w, t: {"settings": replace(QUICK, held_out=0.1)}, TuningError, "40 of them in whole groups must measure"),
        (lambda w, t: {"device": "cuda:all"}, TuningError, "training computes on one GPU; name it, for example --device cuda:0"),
        (lambda w, t: {"groups": "^p"}, TuningError, "fall into 1 group, the largest of 210"),
        (lambda w, t: {"groups": "("}, GroupsError, "not a regular expression"),
        (table, GroupsError, "none of its 1 name is among the images: it has 'nobody.png'"),
        (lambda w, t: {"start": t / "none.safetensors"}, WeightsError, "no such file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    world: Path, tmp_path: Path, options: Callable[[Path, Path], dict[str, Any]], error: type[Exception], complaint: str
) -> None:
    wrong = options(world, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error, match=complaint) as caught:
        go(world, **{"out": tmp_path / "a.safetensors", **wrong})
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_weights_of_another_network_are_no_start(world: Path, tmp_path: Path) -> None:
    from embeddings.views.network import _torchvision_models

    torch.save(_torchvision_models().resnet18(weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: no network for copies; start from"):
        go(world, tmp_path / "a.safetensors", start=tmp_path / "w.pth")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 1}, {"held_out": 0.0}, {"held_out": 1.0}, {"seed": -1}, {"size": 31}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TuningError):
        TuningSettings(**wrong)


def test_a_batch_fits_the_groups() -> None:
    assert [TuningSettings().recipe(groups).batch for groups in (20, 128, 5000)] == [20, 128, 128]
    assert TuningSettings(batch=9).recipe(9).batch == 9


# Outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.01, 0.2, "improved"),
        (0.0, 0.2, "not improved"),
        (-0.1, 0.2, "not improved"),
        (-0.2, 0.0, "not improved"),
        (-0.2, -0.01, "worse"),
        (float("nan"), float("nan"), "not improved"),
    ],
)
def test_only_an_interval_without_zero_says_anything(low: float, high: float, outcome: str) -> None:
    assert Outcome.of(Estimate(0.1, low, high, 5)) == outcome
