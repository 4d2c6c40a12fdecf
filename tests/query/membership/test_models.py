"""Files of what methods learned."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from query.membership.case import MembershipError, Model
from query.membership.cross_fit import PredictionSettings, cross_fit
from query.membership.methods.fusion import LearnedFusion
from query.membership.models import load_model, save_model, save_seen, seen_beside
from tests.helpers.cases import planted, told

ARRAYS = {
    "weights": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "mask": np.array([True, False]),
    "none": np.zeros((0, 4), np.int8),
}
FACTS = {"generated": 500, "views": ["phash", "sift"], "probability": {"slope": 0.1, "offset": -1e-17}, "name": "Łódź"}
MODEL = Model("svm", ARRAYS, FACTS)


@pytest.mark.parametrize(
    "model", [MODEL, Model("fusion", {}, {"threshold": 0.5}), Model("phash")], ids=lambda model: model.method
)
def test_a_model_comes_back(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.safetensors")
    back = load_model(tmp_path / "m.safetensors")
    assert (back.method, back.facts) == (model.method, model.facts)
    for name, array in model.arrays.items():
        assert back.arrays[name].dtype == array.dtype
        assert np.array_equal(back.arrays[name], array)
    assert set(back.arrays) == set(model.arrays) or not model.arrays


def test_a_model_of_a_file_answers_as_before(tmp_path: Path) -> None:
    case, truth = planted(0, used=15, unused=15, each=2)
    model = LearnedFusion().fit(told(case, truth))
    save_model(model, tmp_path / "m")
    before, after = (LearnedFusion().answer(case, each).value for each in (model, load_model(tmp_path / "m")))
    assert np.array_equal(before, after)


def test_the_same_model_is_the_same_bytes_for_the_owner_only(tmp_path: Path) -> None:
    for number in range(2):
        facts = dict(sorted(FACTS.items(), reverse=bool(number)))
        save_model(Model("svm", dict(sorted(ARRAYS.items(), reverse=bool(number))), facts), tmp_path / str(number))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    assert stat.S_IMODE((tmp_path / "0").stat().st_mode) == 0o600
    save_model(Model("cnn"), tmp_path / "0")
    assert load_model(tmp_path / "0").method == "cnn"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


@pytest.mark.parametrize(
    "fault", ["gone", "folder", "empty", "cut", "text", "strange", "no card", "no object", "no facts", "of weights"]
)
def test_what_is_no_model_is_one_line(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(MODEL, path)
    content = path.read_bytes()
    cards = {"no card": "{", "no object": "[1]", "no facts": json.dumps({"format": 1, "method": "svm"}), "of weights": "{}"}
    if fault == "gone":
        path.unlink()
    elif fault == "folder":
        path.unlink()
        path.mkdir()
    elif fault in cards:
        save_file({"a": np.zeros(1)}, path, {"synthtrace": cards[fault]})
    elif fault == "strange":
        save_file({"a": np.zeros(1)}, path)
    else:
        path.write_bytes({"empty": b"", "cut": content[:-9], "text": b"image,used\na.png,1\n" * 9}[fault])
    with pytest.raises(MembershipError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_model_holds_no_digest_and_finds_them_beside_its_folder(tmp_path: Path) -> None:
    case, truth = planted(0, used=15, unused=15, each=2)
    made = cross_fit(LearnedFusion(), told(case, truth), PredictionSettings(primary="fusion-learned")).model
    assert made.seen
    path, seen = tmp_path / "results.models" / "m.safetensors", tmp_path / "results.seen.json"
    path.parent.mkdir()
    assert seen_beside(path.parent) == seen
    save_model(made, path, save_seen(made.seen, seen))
    content = path.read_bytes()
    for digest in made.seen:
        assert digest.encode() not in content
        assert bytes.fromhex(digest) not in content
    assert stat.S_IMODE(seen.stat().st_mode) == 0o600
    assert load_model(path).seen == made.seen
    save_model(made, path, save_seen(made.seen, seen))
    assert path.read_bytes() == content  # the same images go by the same name
    save_seen(frozenset({"00"}), seen)  # another fit beside it
    assert load_model(path).seen == made.seen
    elsewhere = tmp_path / "elsewhere" / "m.safetensors"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(content)
    assert load_model(elsewhere).seen is None
    assert load_model(elsewhere).arrays.keys() == made.arrays.keys()


def test_names_of_fits_are_random(tmp_path: Path) -> None:
    """A name made from digests would be tested for by who holds all of the images."""
    names = {save_seen(frozenset({"ab"}), tmp_path / f"{number}.seen.json") for number in range(5)}
    assert len(names) == 5


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 1}', "\x00"])
def test_a_damaged_file_of_what_was_seen_is_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "m.seen.json"
    path.write_text(content)
    with pytest.raises(MembershipError) as caught:
        save_seen(frozenset({"ab"}), path)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_text() == content


def test_another_format_is_named(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "m")
    card = {"format": 1, "method": "svm", "facts": {}}
    save_file(load_file(tmp_path / "m"), tmp_path / "m", {"synthtrace": json.dumps(card)})
    with pytest.raises(MembershipError, match="of format 1, this program reads 2; fit it again"):
        load_model(tmp_path / "m")
