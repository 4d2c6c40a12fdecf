"""The public form of a report: no figure stands on few images, and none of few can be computed from what it shows."""

import itertools
import json
import re
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import query.report.pairs
from query.database.store import Store
from query.report.cells import FEWEST, coarse_curve, enough_images, shown_cells
from query.report.predictions import Decisions
from query.report.public import publicly
from query.report.run_summary import RunSummary, summarise
from query.report.writing import write_report
from query.text import plain
from tests.helpers import reporting
from tests.helpers.reporting import GENERATED, State, make_run

SMALL = State(used=5, unused=55, decided=True, matched=True)
LARGE = State(used=40, unused=50, decided=True, matched=True)
METHODS = ("fusion", "phash")


@pytest.fixture(scope="module", autouse=True)
def many_images() -> Any:
    """Runs of 120 real images, two of a patient, and for speed few pairs that are matched for the report."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(reporting, "REAL", 120)
        changed.setattr(query.report.pairs, "SHOWN", 1)
        yield


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[State, Path]:
    return {state: evaluated(make_run(tmp_path_factory.mktemp("run") / "run", state), state) for state in (SMALL, LARGE)}


def evaluated(database: Path, state: State) -> Path:
    """The same with metrics that no small cell is in if the state has none, and with leakage."""
    missed = 4 if state is SMALL else 0
    counts = {"tp": state.used - missed, "fn": missed, "fp": 0, "tn": state.unused}
    others = {"auroc": 0.98765, "f1": 0.8765, "recall": 0.9, "specificity": 1.0, "tpr_at_0.05": 0.25, "brier": 0.2}
    measured = [(method, name, value) for method in METHODS for name, value in (counts | others).items()]
    rows: list[tuple[Any, ...]] = [(1, method, name, value, value - 0.1, value + 0.1) for method, name, value in measured]
    for when in ("before", "after"):
        for name in ("nearer_to_training", "memorised_training", "memorised_hold_out", "memorised_excess"):
            rows.append((1, f"leakage {when} filter: combined", name, 0.13333, 0.01, 0.5))
        rows += [(1, f"leakage {when} filter: combined", name, 0.00321, None, None) for name in ("p_value", "share_low")]
    change(database, "INSERT INTO metrics (run_id, method, metric, value, low, high) VALUES (?, ?, ?, ?, ?, ?)", rows)
    return database


def change(database: Path, statement: str, rows: list[tuple[Any, ...]]) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.executemany(statement, rows)


def public(database: Path, out: Path) -> tuple[str, dict[str, Any]]:
    with Store.open(database, read_only=True) as store:
        write_report(store, 1, out, public=True)
    return out.read_text(), json.loads(out.with_suffix(".json").read_text())


# Cells


def test_no_small_cell_can_be_computed_from_those_shown() -> None:
    """Every table of three cells: what is shown leaves at least two possible numbers for every small one."""
    least, tables = FEWEST, defaultdict(list)
    for cells in itertools.product(range(4 * least + 1), repeat=3):
        shown = tuple(shown_cells(dict(zip("abc", cells, strict=True)), least).values())
        assert not any(count is not None and 0 < count < least for count in shown)
        total = sum(cells) if sum(cells) == 0 or sum(cells) >= least else None
        tables[total, shown].append(cells)
        hidden = [count for count, told in zip(cells, shown, strict=True) if told is None]
        assert total is None or not 0 < sum(hidden) < least
    for (total, shown), possible in tables.items():
        if total is not None and total > 4 * least:  # then tables that were not tried would fit, too
            continue
        for place in range(3):
            values = {cells[place] for cells in possible}
            assert shown[place] is not None or len(values) > 1 or min(values) >= least, (total, shown)


def test_what_need_not_be_hidden_is_shown() -> None:
    assert shown_cells({"a": 0, "b": 11, "c": 500}, 11) == {"a": 0, "b": 11, "c": 500}
    assert shown_cells({"a": 3, "b": 40, "c": 500}, 11) == {"a": None, "b": 40, "c": None}
    assert shown_cells({"a": 3, "b": 0, "c": 40}, 11) == {"a": None, "b": 0, "c": None}


@pytest.mark.parametrize("seed", range(20))
def test_so_many_images_are_always_of_enough_persons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(40), rng.integers(1, 30, 40)).astype(str)
    least = enough_images(dict(enumerate(names)))
    sizes = Counter(names.tolist()).most_common()
    worst = [name for name, count in sizes for _ in range(count)][:least]
    assert len(set(worst)) == FEWEST
    assert len(set(rng.choice(names, least, replace=False))) >= FEWEST


@pytest.mark.parametrize("seed", range(50))
def test_between_two_points_of_a_curve_there_are_none_or_enough(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.random(int(rng.integers(1, 200))) < 0.5
    steps = np.concatenate([[0], np.sort(rng.choice(len(kinds), len(kinds) // 2, replace=False)) + 1, [len(kinds)]])
    true, false = (np.concatenate([[0], np.cumsum(part)])[steps].tolist() for part in (kinds, ~kinds))
    places = coarse_curve(false, true, FEWEST)
    for counts in (false, true):
        assert all(count == 0 or count >= FEWEST for count in np.diff([counts[place] for place in places]))
    assert not places or (places[0] == 0 and true[places[-1]] == true[-1] and false[places[-1]] == false[-1])
    assert places or len(kinds) < 8 * FEWEST


# Reports


def test_a_kind_of_few_images_has_no_figure(databases: dict[State, Path], tmp_path: Path) -> None:
    html, found = public(databases[SMALL], tmp_path / "public.html")
    assert found["known"]["used"] is None
    assert None in (found["known"]["not_used"], found["known"]["unlabelled"])
    assert (found["evaluation"]["methods"], found["evaluation"]["roc"]) == ([], [])
    assert found["leakage"]["figures"] == []
    for view in found["views"]:
        assert view["auroc"] is None
        assert "used" not in view["histogram"]
        assert "used" not in [row["images"] for row in view["nearest"]]
    assert all(method["smallest_p"] is None for method in found["decisions"]["methods"])
    assert found["fewest"] == FEWEST
    assert f"fewer than {FEWEST} images" in html


def test_no_count_is_small_and_no_figure_is_fine(databases: dict[State, Path], tmp_path: Path) -> None:
    for state, database in databases.items():
        _, found = public(database, tmp_path / "public.html")
        least = 2 * (FEWEST - 1) + 1  # two images of a patient
        decided, judged = found["decisions"], found["evaluation"]
        counts = [found["sides"]["real"][key] for key in ("images", "failed", "blank")]
        counts += [found["known"][kind] for kind in ("used", "not_used", "unlabelled")]
        counts += [method[key] for method in decided["methods"] for key in ("images", "says_used", "says_not")]
        counts += [*decided["primary"]["answers"].values(), found["pairs"]["looked_at"], found["pairs"]["strong"]]
        counts += [method[name]["value"] for method in judged["methods"] for name in ("tp", "fp", "tn", "fn")]
        assert not [count for count in counts if count is not None and 0 < count < least], state
        withheld = [found["withheld"]["withheld"], found["withheld"]["remain"], *found["withheld"]["rules"].values()]
        assert not [count for count in withheld if count is not None and 0 < count < FEWEST], state
        for curve in judged["roc"]:
            for side, images in (("true", state.used), ("false", state.unused)):
                assert all(step < 0.01 or step * images > least - 1 for step in np.diff(curve[side]))
        fine = [figure["value"] for method in judged["methods"] for name, figure in method.items() if name == "auroc"]
        assert all(value == round(value, 2) for value in fine)
        for row in found["leakage"]["figures"]:
            assert (row["before"]["value"] * GENERATED / FEWEST) % 1 < 0.01
        if found["leakage"]["figures"]:
            assert found["leakage"]["tests"]["before"] == {"evidence": True, "p_value": 0.01, "share_low": 0.0}


def planted(summary: RunSummary, used: int, unused: int, note: int) -> RunSummary:
    """The summary of a run that knew so many of either kind, and whose methods say used of so many of unlabelled ones."""
    assert summary.decisions
    assert summary.decisions.primary
    assert summary.evaluation
    assert summary.sides["real"].images
    unlabelled = summary.sides["real"].images - used - unused
    told = unlabelled or used + unused
    note = min(note, told)
    methods = [replace(each, images=told, says_used=note, says_not=told - note) for each in summary.decisions.methods]
    answers = {"used": note, "patient used": 0, "no trace found": told - note, "undecided": 0}
    number = {"used": used, "not used": unused, "unlabelled": unlabelled}
    nearest = [[replace(row, number=number.get(row.images, row.number)) for row in view.nearest] for view in summary.views]
    counts = {"tp": used - used // 3, "fn": used // 3, "fp": unused // 4, "tn": unused - unused // 4}
    figures = [
        replace(
            each, metrics={**each.metrics, **{name: replace(each.metrics[name], value=float(n)) for name, n in counts.items()}}
        )
        for each in summary.evaluation.methods
    ]
    return replace(
        summary,
        known=replace(summary.known, used=used, not_used=unused, unlabelled=unlabelled),
        decisions=Decisions(methods, replace(summary.decisions.primary, images=told, answers=answers)),
        views=[replace(view, nearest=rows) for view, rows in zip(summary.views, nearest, strict=True)],
        evaluation=replace(summary.evaluation, methods=figures),
    )


def test_no_small_kind_planted_anywhere_gives_a_number(databases: dict[State, Path]) -> None:
    """Every size of either kind around the least, and few or many images predicted used."""
    with Store.open(databases[LARGE], read_only=True) as store:
        summary, _ = summarise(store, 1, databases[LARGE])
    least, sizes = 2 * (FEWEST - 1) + 1, (0, 1, 3, 10, 11, 20, 21, 35, 50)
    for used, unused, note in itertools.product(sizes, sizes, (0, 1, 9, 22, 60)):
        found = plain(publicly(planted(summary, used, unused, note), least))
        kinds = [found["known"][kind] for kind in ("used", "not_used", "unlabelled")]
        groups = [kinds, list(found["decisions"]["primary"]["answers"].values())]
        groups += [[method["says_used"], method["says_not"]] for method in found["decisions"]["methods"]]
        totals = [120, found["decisions"]["primary"]["images"], *(method["images"] for method in found["decisions"]["methods"])]
        for total, parts in zip(totals, groups, strict=True):
            assert not [part for part in (total, *parts) if part is not None and 0 < part < least], (used, unused, note)
            hidden = None if total is None else total - sum(part for part in parts if part is not None)
            assert hidden is None or hidden == 0 or hidden >= least, (used, unused, note)
        if min(used, unused) < least:
            assert found["evaluation"]["methods"] == found["evaluation"]["roc"] == found["leakage"]["figures"] == []
            assert all(view["auroc"] is None for view in found["views"])
        for method in found["evaluation"]["methods"]:
            cells = [method[name]["value"] for name in ("tp", "fp", "tn", "fn")]
            assert not [cell for cell in cells if cell is not None and 0 < cell < least], (used, unused, note)
            assert None not in cells or set(method["f1"].values()) == {None}
        rows = [row for view in found["views"] for row in view["nearest"]]
        assert not [row for row in rows if {row[name] for name in ("smallest", "number", "q05", "median")} != {None}]


def with_patients(summary: RunSummary, tested: int, reference: int, others: int, called: int) -> RunSummary:
    """The summary of a run with two images of each patient: so many unlabelled, not used, and used; so many called used."""
    assert summary.decisions
    primary = summary.decisions.primary
    assert primary
    assert primary.patients
    assert primary.whole
    called = min(called, tested)
    answers = {"used": called, "no trace found": tested - called, "undecided": 0}
    patients = replace(primary.patients, tested=tested, reference=reference, answers=answers)
    whole = replace(primary.whole, patients=tested, reference=reference, share_low=called / max(1, tested), used_low=called)
    images = {"used": 0, "patient used": 2 * called, "no trace found": 2 * (tested - called), "undecided": 0}
    primary = replace(primary, images=2 * tested, answers=images, patients=patients, whole=whole)
    groups = tested + reference + others
    sides = {**summary.sides, "real": replace(summary.sides["real"], images=2 * groups)}
    known = replace(summary.known, used=2 * others, not_used=2 * reference, unlabelled=2 * tested, groups=groups)
    return replace(summary, sides=sides, known=known, decisions=replace(summary.decisions, primary=primary))


def test_no_small_number_of_patients_is_shown_or_follows(databases: dict[State, Path]) -> None:
    with Store.open(databases[LARGE], read_only=True) as store:
        summary, _ = summarise(store, 1, databases[LARGE])
    sizes, least, told = (0, 1, 10, 11, 25, 60), 2 * (FEWEST - 1) + 1, 0
    for tested, reference, others, called in itertools.product(sizes[1:], sizes[1:], sizes, (0, 3, 30)):
        found = publicly(with_patients(summary, tested, reference, others, called), least)
        assert found.decisions
        primary = found.decisions.primary
        assert primary
        assert primary.patients
        assert primary.whole
        counts = [primary.patients.tested, primary.patients.reference, *primary.patients.answers.values()]
        counts += [primary.whole.patients, primary.whole.reference]
        assert not [count for count in counts if count is not None and 0 < count < FEWEST], (tested, reference, others)
        assert primary.patients.called == []
        assert primary.whole.used_low is None
        if primary.patients.tested is not None:
            told += 1
            assert others == 0 or others >= FEWEST
            assert set(primary.answers.values()) == {None}  # beside patients these tell how many images they have
        if primary.whole.p is not None:
            assert min(tested, reference) >= FEWEST
        if primary.whole.share_low is not None:
            shown = primary.whole.share_low * tested
            assert FEWEST <= shown + 1e-2 <= called + 1e-2
    assert told


def test_figures_of_many_images_are_shown(databases: dict[State, Path], tmp_path: Path) -> None:
    """Hiding everything would be no report."""
    _, found = public(databases[LARGE], tmp_path / "public.html")
    assert found["known"] == {"used": 40, "not_used": 50, "unlabelled": 30, "groups": 60, "groups_from": "given"}
    assert [method["method"] for method in found["evaluation"]["methods"]] == ["fusion", "phash"]
    assert found["evaluation"]["methods"][0]["auroc"]["value"] == 0.99
    assert found["evaluation"]["methods"][0]["f1"]["value"] == 0.88
    assert len(found["leakage"]["figures"]) == 4
    view = found["views"][0]
    assert {"all pairs", "not used"} <= set(view["histogram"])
    assert [row["images"] for row in view["nearest"]] == ["not used"]  # twice as many as are enough: the middle half
    assert view["auroc"]["value"] is not None
    assert view["histogram"]["all pairs"]["edges"][0] == -15


def test_counts_of_answers_are_shown_all_or_none(databases: dict[State, Path], tmp_path: Path) -> None:
    """One used image missed: neither that nor anything that it could be computed from."""
    missed = Path(shutil.copy(databases[LARGE], tmp_path / "missed.duckdb"))
    change(missed, "UPDATE metrics SET value = ? WHERE metric = ?", [(39.0, "tp"), (1.0, "fn")])
    _, found = public(missed, tmp_path / "public.html")
    for method in found["evaluation"]["methods"]:
        for name in ("tp", "fp", "tn", "fn", "f1", "recall", "specificity"):
            assert set(method[name].values()) == {None}
        assert method["auroc"]["value"] is not None


def test_an_image_of_a_small_kind_changes_nothing(databases: dict[State, Path], tmp_path: Path) -> None:
    """Whatever is measured of one of five used images, every byte of the public form stays the same."""
    wanted = public(databases[SMALL], tmp_path / "public.html")
    for number, (distance, p, used, metric) in enumerate([(-9.0, 0.001, True, 0.1), (4.0, 0.9, False, 0.999)]):
        other = Path(shutil.copy(databases[SMALL], tmp_path / f"other{number}.duckdb"))
        change(other, "UPDATE neighbours SET distance = ? WHERE query_id = ? AND rank = 1", [(distance, GENERATED + 4)])
        change(
            other,
            "UPDATE decisions SET value = ?, p_value = ?, q_value = ?, used = ? WHERE image_id = ?",
            [(-distance, p, p, used, GENERATED + 4)],
        )
        change(other, "UPDATE metrics SET value = ?, low = ?, high = ?", [(metric, metric, metric)])
        assert public(other, tmp_path / f"other{number}.html") == wanted


def test_a_copy_among_many_images_moves_no_edge(databases: dict[State, Path], tmp_path: Path) -> None:
    """Bins lie on a fixed grid: where the outermost image stands has no part in them."""
    nearer = Path(shutil.copy(databases[LARGE], tmp_path / "nearer.duckdb"))
    change(nearer, "UPDATE neighbours SET distance = ? WHERE query_id = ? AND rank = 1", [(-14.9, GENERATED)])
    before, after = (public(each, tmp_path / "public.html")[1] for each in (databases[LARGE], nearer))
    for one, other in zip(before["views"], after["views"], strict=True):
        assert one["histogram"] == other["histogram"]


def test_public_form_names_no_hash(databases: dict[State, Path], tmp_path: Path) -> None:
    html, found = public(databases[LARGE], tmp_path / "public.html")
    note = re.sub(r"data:[^\"]+", "", html) + json.dumps(found)
    assert not re.search(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", note)
