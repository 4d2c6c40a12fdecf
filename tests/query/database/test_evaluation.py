"""A run's decisions held against labels: what counts, what is left out, what is written, what is said."""

import csv
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from query.database.evaluation import GREY_LEVELS, Evaluation, EvaluationSettings
from query.database.evaluation import evaluate as evaluate_fully
from query.database.labelled_predictions import EvaluationError
from query.database.record_evaluation import record_evaluation
from query.database.store import Store
from query.evaluation.classification import Measure
from query.inputs.labels import LabelsError
from query.report.evaluation import write_evaluation
from query.report.text.evaluation import evaluation_text
from tests.helpers.making import slice_of, write_image
from tests.helpers.membership_cases import GROUPS, IMAGES, NAMES, USED, VALUES, begin, decide, describe, write_reals


def evaluate(store: Store, run: int | None = None, labels: Mapping[str, bool] | None = None, **options: Any) -> Evaluation:
    """With few draws, and recorded."""
    evaluation = evaluate_fully(store, EvaluationSettings(draws=200, **options), run=run, labels=labels)
    record_evaluation(store, evaluation)
    return evaluation


@pytest.fixture
def store() -> Store:
    """One run with two methods, one of which sees the difference."""
    made = Store.open(":memory:")
    number = begin(made)
    for name, values in VALUES.items():
        decide(made, number, name, values)
    return made


def test_figures_are_those_of_scikit_learn_and_stand_in_the_table(store: Store) -> None:
    found = evaluate(store)
    table = {(row["method"], row["metric"]): row for row in store.analyse("metrics").to_pylist()}
    for name, values in VALUES.items():
        figures = found.as_dict()["methods"][name]
        assert figures["auroc"]["value"] == pytest.approx(roc_auc_score(USED, values))
        assert figures["measures"]["f1"]["value"] == pytest.approx(f1_score(USED, values >= 1))
        row = table[name, "auroc"]
        assert (row["value"], row["low"], row["high"]) == tuple(figures["auroc"][end] for end in ("value", "low", "high"))
    assert found.as_dict()["methods"]["good"]["auroc"]["p_value"] < 0.01 < found.as_dict()["methods"]["blind"]["auroc"]["p_value"]
    assert table["good", "f1:all_used"]["value"] == pytest.approx(2 / 3)
    assert table["blind", "auroc:minus:good"]["high"] < 0


def test_every_measure_stands_beside_its_baseline(store: Store) -> None:
    evaluate(store)
    metrics = {row["metric"] for row in store.analyse("metrics").to_pylist()}
    for name in [*Measure, "auroc", "partial_auroc", "tpr_at_0.1"]:
        assert f"{name}:by_chance" in metrics
    assert {f"{name}:all_used" for name in Measure} <= metrics


def test_metrics_are_replaced_in_their_run_alone(store: Store) -> None:
    other = begin(store)
    decide(store, other, "good", VALUES["good"])
    evaluate(store, run=1)
    evaluate(store, run=2)
    before = {run: store.analyse("metrics", run=run).to_pylist() for run in (1, 2)}
    evaluate(store, run=1)
    assert {run: store.analyse("metrics", run=run).to_pylist() for run in (1, 2)} == before
    evaluate(store, run=1, methods=["blind"])
    assert {row["method"] for row in store.analyse("metrics", run=1).to_pylist()} == {"blind"}


@pytest.mark.parametrize("role", ["seen", None])
def test_what_saw_a_label_is_never_judged_by_it(store: Store, role: str | None) -> None:
    roles = [role] * IMAGES
    decide(store, 1, "memory", USED * 9.0, role=roles)
    found = evaluate(store)
    assert "memory" not in found.as_dict()["methods"]
    assert "memory is not evaluated" in " ".join(found.as_dict()["notes"])
    with pytest.raises(EvaluationError, match="did not see its label"):
        evaluate(store, methods=["memory"])
    decide(store, 1, "half", USED * 9.0, role=[*roles[:30], *["unlabelled"] * 10])
    half = evaluate(store, methods=["half"]).as_dict()
    assert (half["methods"]["half"]["images"], half["methods"]["half"]["seen"]) == (10, 30)
    assert "30 labelled images are left out" in " ".join(half["notes"])


def test_labels_may_come_from_elsewhere(store: Store) -> None:
    given = {Path(name).stem: bool(used) for name, used in zip(NAMES[:24], ~USED[:24], strict=True)}
    found = evaluate(store, labels=given)
    assert found.as_dict()["methods"]["good"]["auroc"]["value"] == pytest.approx(roc_auc_score(~USED[:24], VALUES["good"][:24]))
    assert found.as_dict()["labels"] == {"used": 12, "not_used": 12}
    with pytest.raises(LabelsError, match="nobody"):
        evaluate(store, labels={"nobody.png": True})
    begin(store, labels=False)
    decide(store, 2, "good", VALUES["good"], role="unlabelled")
    with pytest.raises(EvaluationError, match="knows no labels; give them with --labels"):
        evaluate(store)
    assert evaluate(store, labels=given).run == 2


def test_unknown_patients_are_said_to_be_so(store: Store) -> None:
    known = evaluate(store).as_dict()
    begin(store, groups=None)
    decide(store, 2, "good", VALUES["good"])
    unknown = evaluate(store).as_dict()
    assert (known["groups"]["known"], unknown["groups"]["known"]) == (True, False)
    assert (known["groups"]["note"], unknown["methods"]["good"]["auroc"]["n"]) == ("20 groups, as given.", IMAGES)
    assert "Patients are unknown" in unknown["groups"]["note"]
    assert known["methods"]["good"]["auroc"]["n"] == len(set(GROUPS))


def test_images_without_an_answer_are_counted_apart(store: Store) -> None:
    used = [None, None, None, *(VALUES["good"][3:35] >= 1)]
    answers = ["undecided" if number % 2 else "used" for number in range(35)]
    ids = np.arange(35) + 9
    decide(store, 1, "shy", VALUES["good"][:35], used=used, image_id=ids, threshold=np.ones(35), answer=answers)
    figures = evaluate(store, methods=["shy"]).as_dict()["methods"]["shy"]
    assert (figures["images"], sum(figures["counts"].values())) == (32, 32)
    assert figures["unanswered"] == {"used": 2 + sum(USED[35:]), "not_used": 1 + sum(~USED[35:])}
    assert figures["undecided"] == 16
    assert figures["measures"]["f1"]["value"] == pytest.approx(f1_score(USED[3:35], VALUES["good"][3:35] >= 1))


PRIMARY = json.dumps({"primary": True})


def decide_patients(store: Store, called: Sequence[int]) -> None:
    """Decisions on the twenty patients of two images each, of whom those of even number were used."""
    decide(store, 1, "first", VALUES["good"])
    describe(store, 1, "first", facts=PRIMARY)
    columns = {"patient": [f"p{n}" for n in range(20)], "image_id": np.arange(20) * 2 + 9, "images": [2] * 20}
    columns |= {"run_id": [1] * 20, "method": ["first"] * 20, "role": ["cross-fitted"] * 20}
    columns |= {"p_value": np.full(20, 0.5), "q_value": np.full(20, 0.5)}
    store.add("patient_decisions", {**columns, "decision": ["used" if n in called else "no trace found" for n in range(20)]})


def test_decisions_on_patients_are_counted_by_patient(store: Store) -> None:
    decide_patients(store, [0, 1, 2, 3, 4, 6, 8])  # two of them were not used
    found = evaluate(store)
    patients = found.methods["first"].patients
    assert patients is not None
    assert (patients.used, patients.not_used) == (10, 10)
    for share, hits, of in ((patients.found, 5, 10), (patients.false, 2, 7)):
        exact = binomtest(hits, of).proportion_ci(method="exact")
        assert share.ends == pytest.approx((hits / of, exact.low, exact.high))
    assert found.methods["good"].patients is None  # not primary
    table = {row["metric"]: row for row in store.analyse("metrics").to_pylist() if row["method"] == "first"}
    assert (table["patients_found"]["value"], table["patients_false"]["high"]) == (0.5, patients.false.high)
    assert "share of used patients called used 50.0% [18.7, 81.3]; of those called used 28.6%" in evaluation_text(found)


def test_patients_whose_membership_is_unknown_are_left_out(store: Store) -> None:
    decide_patients(store, [])
    given = {name: bool(used) for name, used in zip(NAMES, USED, strict=True)}
    for number in (1, 2):  # of a used patient one image is still known, of the other one nothing that tells
        del given[NAMES[number]]
    found = evaluate(store, labels=given).methods["first"].patients
    assert found is not None
    assert (found.used, found.not_used, found.found.value, found.false.known) == (10, 9, 0.0, False)
    assert "nobody is called used" in evaluation_text(evaluate(store))


@pytest.mark.parametrize("held_back", [True, False])
@pytest.mark.parametrize(
    ("of_the_patient", "words"),
    [(0.0, "is of the image, not of the patient alone"), (4.0, "nothing shows that it is of the image")],
)
def test_used_images_are_held_against_other_slices_of_their_patients(
    store: Store, held_back: bool, of_the_patient: float, words: str
) -> None:
    """Twelve images used and their siblings in six patients, twenty-eight unused images of fourteen others."""
    used, sibling = np.arange(IMAGES) < 12, (np.arange(IMAGES) >= 12) & (np.arange(IMAGES) < 24)
    groups = [f"p{number % 12 // 2 if number < 24 else number // 2}" for number in range(IMAGES)]
    run = begin(store, groups=groups, labels=False)
    store.add("labels", {"run_id": [run] * IMAGES, "image_id": np.arange(IMAGES) + 9, "used": used})
    of_the_image = 4.0 if not of_the_patient else 0.0
    noise = np.random.default_rng(5).normal(size=IMAGES)
    values = of_the_image * used + of_the_patient * (used | sibling) + noise
    role = np.where(sibling & held_back, "sibling", "cross-fitted")
    decide(store, run, "first", values, role=role.tolist())
    describe(store, run, "first", facts=PRIMARY)
    found = evaluate(store, run=run)
    siblings = found.methods["first"].siblings
    assert siblings is not None
    assert (siblings.images, siblings.patients) == (12, 6)
    assert siblings.siblings.value == pytest.approx(roc_auc_score(used[:24], values[:24]))
    assert siblings.others.value == pytest.approx(roc_auc_score(used[~sibling], values[~sibling]))
    assert found.methods["first"].seen == 0
    assert words in evaluation_text(found)


def test_p_used_is_judged_where_it_is_available(store: Store) -> None:
    decide(store, 1, "sure", VALUES["good"], probability=np.where(USED, 0.9, 0.2))
    figures = evaluate(store).as_dict()["methods"]
    assert figures["good"]["brier"] is None
    assert figures["sure"]["brier"]["value"] == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert [(b["mean"], b["used"]["value"], b["images"]) for b in figures["sure"]["reliability"]] == [
        (pytest.approx(0.2), 0.0, 20),
        (pytest.approx(0.9), 1.0, 20),
    ]


def test_the_primary_method_comes_first_and_others_are_held_against_it(store: Store) -> None:
    assert evaluate(store).as_dict()["differences"]["of"] == "blind"
    describe(store, 1, "good", facts=json.dumps({"primary": True}))
    assert evaluate(store).as_dict()["differences"]["of"] == "good"
    assert evaluate(store, methods=["blind", "good"]).as_dict()["differences"]["of"] == "blind"
    assert evaluate(store, methods=["blind"]).as_dict()["differences"] is None


def test_one_kind_of_labels_still_gives_what_can_be_said(store: Store) -> None:
    found = evaluate(store, labels=dict.fromkeys(NAMES[:6], True))
    assert found.as_dict()["methods"]["good"]["auroc"]["value"] is None
    assert found.as_dict()["methods"]["good"]["measures"]["specificity"]["value"] is None
    assert "fewer than 10 images" in " ".join(found.as_dict()["notes"])
    assert "-" in evaluation_text(found)
    assert json.dumps(found.as_dict(), allow_nan=False)


def test_grey_levels_alone_tell_a_planted_brightness(tmp_path: Path) -> None:
    write_reals(tmp_path / "real")
    with Store.open(tmp_path / "runs.duckdb") as store:
        number = begin(store, tmp_path / "real")
        decide(store, number, "blind", VALUES["blind"])
        found = evaluate(store, with_controls=True)
        grey = found.as_dict()["controls"][GREY_LEVELS]
        assert grey["area"]["value"] > 0.7
        assert grey["p_value"] < 0.05
        assert {spread["control"]: spread["draws"] > 0 for spread in found.as_dict()["controls"]["spreads"]["blind"]} == {
            "shuffled labels": True, "used against used": True, "not used against not used": True,
        }  # fmt: skip
        (tmp_path / "real").rename(tmp_path / "moved")
        gone = evaluate(store, with_controls=True)
        assert "give --real FOLDER" in gone.as_dict()["controls"][GREY_LEVELS]["reason"]
        assert "not available" in evaluation_text(gone)
        moved = evaluate(store, with_controls=True, real=tmp_path / "moved").as_dict()["controls"][GREY_LEVELS]
        assert moved == grey
        write_image(tmp_path / "moved" / NAMES[3], slice_of(99))
        changed = evaluate(store, with_controls=True, real=tmp_path / "moved").as_dict()["controls"][GREY_LEVELS]
        assert f"{NAMES[3]}: the file has changed since it was indexed: index again" in changed["reason"]


def test_files_hold_the_table_and_the_figures(store: Store, tmp_path: Path) -> None:
    tree = {"linkage": linkage(np.arange(5.0)[:, None], "ward").tolist(), "leaves": ["used", "not used"] * 2 + ["generated"]}
    describe(store, 1, "good", detail=json.dumps(tree))
    decide(store, 1, "sure", VALUES["good"], probability=np.where(USED, 0.9, 0.2))
    found = evaluate(store)
    written = write_evaluation(found, store, tmp_path / "out")
    pictures = ["roc", "distribution_good", "distribution_blind", "distribution_sure", "reliability_sure", "dendrogram_good"]
    expected = {"metrics.csv", "metrics.json", *(f"{name}.{suffix}" for name in pictures for suffix in ("png", "svg"))}
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()} == expected
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(store.analyse("metrics"))


def test_the_text_has_every_figure_and_no_false_comfort(store: Store) -> None:
    describe(store, 1, "blind", calibrated=False)
    text = evaluation_text(evaluate(store, with_controls=True))
    for note in (
        "by a fixed rule: blind",
        "all used",
        "chance",
        "not estimable at 1%: needs 100 images",
        "good - blind",
        "p:",
        "does not clear it",
        "P(used) is not available",
        "20 groups, as given",
        "used against used",
    ):
        assert note in text or (note == "good - blind" and "blind - good" in text), note
    assert "safe" not in text
    assert max(map(len, text.splitlines())) <= 140


def test_nothing_to_judge_is_refused_in_one_line(store: Store) -> None:
    with pytest.raises(EvaluationError, match="no decisions of 'cnn'; there are those of blind, good"):
        evaluate(store, methods=["cnn"])
    decide(store, 1, "good", VALUES["good"])
    with pytest.raises(EvaluationError, match="good decided some images twice"):
        evaluate(store)
    begin(store)
    with pytest.raises(EvaluationError, match="run 2 holds no decisions"):
        evaluate(store)
