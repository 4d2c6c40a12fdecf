"""The report: every state of a run gives a whole page, its figures are those of the JSON, its public form gives nothing away."""

import base64
import json
import re
import shutil
import stat
from dataclasses import dataclass, field, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import query.report.pairs
from embeddings.phantoms.slices import copy_of
from indexer.build.build import build
from query.cli.group import program
from query.comparison.combined import COMBINED
from query.database.store import Kept, Store
from query.leakage.filter import sort_out
from query.leakage.risk import RISK
from query.membership.calibration import least_rejected
from query.report.cells import FEWEST
from query.report.distributions import distributions
from query.report.histograms import coarse
from query.report.patients import DECISIONS, PatientsSummary
from query.report.predictions import PrimarySummary
from query.report.statistics import GIVEN
from query.report.text.patients import power_sentences
from query.report.writing import write_report
from tests.helpers.making import QUICK, slice_of, write_image
from tests.helpers.reporting import COPIED, GENERATED, State, distances, make_run
from tests.helpers.runs import add_run

MARK = "Mustermann-1958"  # in every name, path, group and text of the runs
KNOWN = State(mark=MARK)
BOTH = replace(KNOWN, used=10, unused=14, decided=True, matched=True)
QUESTION = replace(KNOWN, used=4, unused=10, first=COPIED, decided=True, failed=("real", "generated"))
QUICK_STATES = {
    "nothing known": KNOWN,
    "both kinds": BOTH,
    "some in question": QUESTION,
    "everything blank": replace(KNOWN, unused=12, decided=True, blank=True),
}
SLOW_STATES = {
    "decided without a reference": replace(KNOWN, decided=True),
    "used images only": replace(KNOWN, used=10, decided=True),
    "a reference only": replace(KNOWN, unused=12, decided=True),
    "both kinds, not decided": replace(KNOWN, used=8, unused=8),
    "failures on one side": replace(KNOWN, failed=("real",)),
    "histograms only": replace(KNOWN, kept=Kept.HISTOGRAM, matched=True),
}
STATES = [
    *(pytest.param(state, id=name) for name, state in QUICK_STATES.items()),
    *(pytest.param(state, id=name, marks=pytest.mark.slow) for name, state in SLOW_STATES.items()),
]
FORMS = [False, pytest.param(True, marks=pytest.mark.slow)]
VOID = {"meta", "image", "line", "img"}  # elements that nothing closes, those of SVG too


class Page(HTMLParser):
    """What a page holds: elements, texts of table cells, data URIs; and that every element is closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.cells: list[str] = []
        self.uris: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.uris += [value for name, value in attrs if name in ("src", "href") and value and value.startswith("data:")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "td" in self.open:
            self.cells[-1] += data


@dataclass(frozen=True)
class Reports:
    """Reports on runs of any state, each made once.

    Attributes:
        folder: where they are.
        made: state and form -> HTML and JSON.
    """

    folder: Path
    made: dict[tuple[State, bool], tuple[str, dict[str, Any]]] = field(default_factory=dict)

    def database(self, state: State) -> Path:
        """The run."""
        folder = self.folder / f"{abs(hash(state))}"
        return folder / "results.duckdb" if folder.exists() else make_run(folder, state)

    def __call__(self, state: State, public: bool = False) -> tuple[str, dict[str, Any]]:
        """HTML and JSON of the state's run."""
        if (state, public) not in self.made:
            database = self.database(state)
            self.made[state, public] = written(database, database.with_name(f"public{public}.html"), public=public)
        return self.made[state, public]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    return Reports(tmp_path_factory.mktemp("reports"))


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For speed."""
    monkeypatch.setattr(query.report.pairs, "SHOWN", COPIED)


def written(database: Path, out: Path, **options: Any) -> tuple[str, dict[str, Any]]:
    """HTML and JSON of the one run."""
    with Store.open(database, read_only=True) as store:
        write_report(store, 1, out, **options)
    return out.read_text(), json.loads(out.with_suffix(".json").read_text())


def numbers(value: Any) -> list[float]:
    """All numbers of a JSON value, those of curves and within texts left out."""
    if isinstance(value, dict):
        return [n for key, each in value.items() if key not in ("histogram", "roc") for n in numbers(each)]
    if isinstance(value, list):
        return [n for each in value for n in numbers(each)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def texts(value: Any) -> str:
    """All texts of a JSON value."""
    if isinstance(value, dict | list):
        return "\n".join(map(texts, value.values() if isinstance(value, dict) else value))
    return str(value)


@pytest.mark.parametrize("public", FORMS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_gives_a_whole_page_that_calls_nothing_harmless(reports: Reports, state: State, public: bool) -> None:
    html, found = reports(state, public)
    page = Page(html)
    assert re.findall(r'<h2 id="\w+">(\d)', html) == list("123456789")
    assert not re.search(r"\bsafe\b|\bNone\b(?! of)|\bnan\b|\bundefined\b", page.text)
    assert "safe" not in json.dumps(found)
    assert "script" not in page.elements
    assert not re.search(r'(?:src|href)="(?!data:|#)', html)
    assert [each["question"] for each in found["answer"]] == re.findall(r'class="answer"><h3>(.*?)</h3>', html)


@pytest.mark.parametrize("state", STATES)
def test_numbers_of_tables_are_those_of_the_json(reports: Reports, state: State) -> None:
    html, found = reports(state)
    known, note = np.array(numbers(found)), texts(found)
    for cell in Page(html).cells:
        if re.search(r"[A-Za-z]", re.sub(r"\b(bits|sd)\b", "", cell)):
            assert cell in ("yes", "NO") or all(part in note for part in re.split("; |, ", cell)), cell
            continue
        for text in re.findall(r"-?\d[\d,]*(?:\.\d+)?", cell):
            digits = len(text.partition(".")[2])
            near = np.abs(known - float(text.replace(",", ""))) <= 0.5000001 * 10.0**-digits
            assert near.any(), f"{text} in {cell!r}"


def test_two_reports_are_the_same_bytes_for_their_owner_only(reports: Reports, tmp_path: Path) -> None:
    assert written(reports.database(BOTH), tmp_path / "again.html") == reports(BOTH)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "again.html": 0o600,
        "again.json": 0o600,
    }


# What may leave the house


def test_private_form_names_images_and_shows_them(reports: Reports) -> None:
    html, _ = reports(BOTH)
    assert f"{MARK} real 00.png" in html
    assert sum("image/png" in uri for uri in Page(html).uris) == 3 * COPIED


@pytest.mark.parametrize("state", [BOTH, *(pytest.param(s, marks=pytest.mark.slow) for s in SLOW_STATES.values()), QUESTION])
def test_public_form_holds_no_name_path_group_or_pixel(reports: Reports, state: State) -> None:
    html, found = reports(state, public=True)
    page = Page(html)
    pictures = [base64.b64decode(uri.partition(",")[2]).decode() for uri in page.uris]  # SVG is text, PNG would not decode
    for text in (html, unescape(html), json.dumps(found, ensure_ascii=False), *pictures):
        assert MARK not in text
        assert str(reports.folder) not in text
        assert not re.search(r"\.png|[0-9a-f]{64}", text)
    assert not any("<image" in picture for picture in pictures)


@pytest.mark.parametrize("seed", range(20))
def test_coarse_histograms_lose_no_image_and_have_no_small_bin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.choice([0.2, 2, 20]), int(rng.integers(1, 60))).tolist()
    edges = np.arange(len(counts) + 1.0).tolist()
    made = coarse(edges, counts, FEWEST)
    if made is None:
        assert sum(counts) < FEWEST * 2 or np.sum(np.cumsum(counts) >= FEWEST) < 2 or max(counts) > sum(counts) - FEWEST
        return
    assert min(made.counts) >= FEWEST
    assert set(made.edges) <= set(edges)
    for low, high, count in zip(made.edges, made.edges[1:], made.counts, strict=False):
        assert count == sum(counts[int(low) : int(high)])
    assert sum(made.counts) == sum(counts)


# What it says


def test_called_used_are_told_with_their_expected_share_of_false_ones(reports: Reports) -> None:
    html, found = reports(QUESTION)
    called = found["decisions"]["primary"]["predicted_used"]
    assert {each["id"] - GENERATED for each in called} == set(range(COPIED))
    patients = found["decisions"]["primary"]["patients"]["called"]
    assert [each["patient"] for each in patients] == [f"{MARK} patient 0", f"{MARK} patient 1"]
    assert found["answer"][1]["note"] == "2 of 5 unlabelled patients are called used."
    assert found["answer"][1]["more"].startswith("On average fewer than one of them falsely, at a false discovery rate of 10%.")
    for each in (*called, *patients):
        assert each["image"] in html
    assert html.index(patients[0]["patient"]) < html.index(called[-1]["image"])
    assert found["withheld"]["rules"]["predicted used"] == COPIED


def test_the_set_comes_first_and_clears_nobody(reports: Reports) -> None:
    html, found = reports(QUESTION)
    note = "With 95% confidence at least 2 of 5 unlabelled patients were used to train the generator."
    assert found["answer"][0]["note"] == note
    assert found["answer"][0]["more"] == "That is 40% of them; p = 0.0005, against 5 reference patients."
    assert unescape(html).index(note) < html.index("What was compared</h2>")
    _, none = reports(replace(QUESTION, first=0))  # the copied images are labelled
    note = "The set as a whole shows no trace of use; this does not show that none was used."
    assert none["answer"][0]["note"] == note
    assert none["answer"][0]["more"] == "p = 0.43, 5 patients against 5 in the reference."
    assert '"No trace found" clears nobody' in none["answer"][1]["more"]


@pytest.mark.parametrize(("patients", "warned"), [(8, True), (9, False)])
def test_a_reference_too_small_to_call_anybody_used_is_warned_of(patients: int, warned: bool) -> None:
    smallest, least = 1 / (1 + patients), least_rejected(patients, 1, 0.1)
    found = PatientsSummary(1, dict.fromkeys(DECISIONS, 0), patients, smallest, least, [], GIVEN)
    lines = power_sentences(PrimarySummary("fusion", True, 1, {}, 0.1, patients, None, None, found, [], {}))
    assert any("WARNING" in line for line in lines) is warned is (smallest > 0.1)
    assert f"Reference: {patients} patients ({patients} images known not to be used)" in lines[0]


def test_copies_come_first_and_are_withheld(reports: Reports) -> None:
    _, found = reports(KNOWN)
    first = found["pairs"]["shown"][:COPIED]
    assert {(pair["real_id"] - GENERATED, pair["generated_id"]) for pair in first} == {(i, i) for i in range(COPIED)}
    expected = distances()
    for pair in first:
        row = pair["real_id"] - GENERATED
        assert pair["distances"] == {view: pytest.approx(d[row, row]) for view, d in expected.items()}
        assert f"{pair['match']['inliers']} of {pair['match']['matches']} matched points fit" in pair["reason"]
    withheld = {each["id"] for each in found["withheld"]["images"]}
    assert withheld
    assert withheld <= set(range(COPIED))
    assert found["withheld"]["remain"] == GENERATED - len(withheld)


def test_matches_are_judged_by_the_threshold_of_the_run(tmp_path: Path) -> None:
    database = make_run(tmp_path / "run", replace(BOTH, threshold=1e6))
    _, found = written(database, tmp_path / "high.html")
    assert found["pairs"]["strong"] == 0
    assert "match" not in found["withheld"]["rules"]
    assert "calibrated on 50 real images" in found["answer"][0]["more"]
    with Store.open(database) as store:
        store._execute("UPDATE matching SET threshold = 1")
    html, found = written(database, tmp_path / "low.html")
    assert found["withheld"]["rules"]["match"] >= 3
    assert "not calibrated" not in html


def test_marks_are_quantiles_of_images_not_used(reports: Reports) -> None:
    _, found = reports(BOTH)
    view = next(view for view in found["views"] if view["view"] == COMBINED)
    reference = distances()[COMBINED].min(axis=1)[10:24]
    mark = view["reference"]
    assert (reference < mark["distance"]).sum() <= mark["share"] * len(reference) < (reference <= mark["distance"]).sum()


def test_reviews_of_people_stand_beside_their_pairs(reports: Reports, tmp_path: Path) -> None:
    database = Path(shutil.copy(reports.database(KNOWN), tmp_path))
    with Store.open(database, read_only=True) as store:
        digest = {row["image_id"]: row["sha256"] for row in store.sql("SELECT image_id, sha256 FROM images").to_pylist()}

    def line(real: int, generated: int, **note: Any) -> str:
        sides = {"real": {"sha256": digest[real + GENERATED], "frame": 0}, "generated": {"sha256": digest[generated], "frame": 0}}
        return json.dumps({**sides, **note}) + "\n"

    lines = line(0, 0, review="similar", note="") + line(0, 0, review="copy", note="<b>ribs</b>") + line(1, 1, review="copy")
    lines += line(1, 1, review=None) + line(0, 0, review="safe") + '"text"\n{"real": 3}\n{"torn'
    database.with_suffix(".reviews.jsonl").write_text(lines)
    html, found = written(database, tmp_path / "r.html")
    note = {pair["real_id"] - GENERATED: pair["review"] for pair in found["pairs"]["shown"]}
    assert note[0] == {"review": "copy", "note": "<b>ribs</b>"}
    assert {place: review for place, review in note.items() if review} == {0: note[0]}
    assert "&lt;b&gt;ribs" in html


def test_a_median_of_a_histogram_is_marked_as_such(reports: Reports) -> None:
    with Store.open(reports.database(SLOW_STATES["histograms only"]), read_only=True) as store:
        groups = dict.fromkeys(range(1000), "")
        views = {view.view: view for view in distributions(store, 1, groups, None)}
        for name, view in views.items():
            bins = store.sql(
                "SELECT low, high, pairs FROM histograms WHERE view = $view ORDER BY low", {"view": name}
            ).to_pandas()
            low, high = bins.loc[2 * bins["pairs"].cumsum() >= bins["pairs"].sum(), ["low", "high"]].iloc[0]
            assert view.all_pairs_median is not None
            assert low <= view.all_pairs_median < high
            assert view.all_pairs_median_exact is (name == "phash")


def test_pictures_that_are_gone_are_named_and_the_rest_is_there(tmp_path: Path) -> None:
    database = make_run(tmp_path / "run", State(mark="<script>alert(1)<|script>"))
    gone = next((tmp_path / "run").glob("*/*real 00.png"))
    gone.unlink()
    html, found = written(database, tmp_path / "r.html")
    missing = [pair for pair in found["pairs"]["shown"] if "missing" in pair]
    assert [pair["real_id"] for pair in missing] == [GENERATED]
    assert missing[0]["match"] is None
    assert "No such file" in missing[0]["missing"]
    page = Page(html)
    assert "script" not in page.elements
    assert "<script>" in page.text
    assert sum("image/png" in uri for uri in page.uris) == 3 * (COPIED - 1)


@pytest.mark.slow
def test_filter_is_that_of_filter(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(40):
        for folder in ("real", "training" if i < 20 else "hold_out"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(tmp_path / folder / f"{i:03d}.png", slice_of(i))
    (tmp_path / "made").mkdir()
    for i in range(60):
        write_image(tmp_path / "made" / f"{i:03d}.png", copy_of(slice_of(i), 1, rng) if i < 8 else slice_of(200 + i))
    generated = build(tmp_path / "generated", tmp_path / "made", settings=QUICK)
    sides = {name: build(tmp_path / f"{name}.c", tmp_path / name, fitted_on=generated) for name in ("training", "hold_out")}
    real = build(tmp_path / "r.real", tmp_path / "real", fitted_on=generated)
    (tmp_path / "r.generated").symlink_to(tmp_path / "generated")
    expected = sort_out(generated, sides["training"], sides["hold_out"])
    with Store.open(tmp_path / "r.duckdb") as store:
        run = add_run(store, (real, generated), {name: name < "020" for name in real.names})
        rows = store.sql("SELECT count(*) AS n, min(risk) AS risk FROM release_decisions").to_pylist()
        assert rows == [{"n": len(generated), "risk": RISK}]
        listed = store.analyse("withheld").to_pylist()
        shutil.rmtree(tmp_path / "r.real")  # nothing is filtered anew
        found = write_report(store, run, tmp_path / "r.html").as_dict()
        store.replace(run, {"release_decisions": {"image_id": [1], "decision": ["withhold"], "reason": ["x"], "view": ["v"],
            "score": [9.87], "threshold": [1.0]}})  # fmt: skip
        again = write_report(store, run, tmp_path / "again.html").as_dict()
    reasons = {each["id"]: each["reasons"] for each in again["withheld"]["images"]}
    assert reasons[1][0]["reason"].endswith("filter score 9.87 towards a used image, above the threshold of 1.00")
    assert {row["generated_image"] for row in listed} == {generated.names[row] for row in np.flatnonzero(expected.withheld)}
    assert all(row["nearest_used"] < "020" for row in listed)
    by_filter = [each for each in found["withheld"]["images"] if any(r["rule"] in ("filter", "blank") for r in each["reasons"])]
    assert {each["id"] for each in by_filter} == set(np.flatnonzero(expected.withheld).tolist())
    assert found["withheld"]["threshold"] == pytest.approx(expected.threshold)
    assert expected.before
    figures = {row["figure"]: row["before"] for row in found["leakage"]["figures"]}
    nearer = expected.before.views[COMBINED]["nearer_to_training"]  # type: ignore[index]
    assert figures["nearer_to_training"]["value"] == pytest.approx(nearer.value, abs=0.1)
    assert found["leakage"]["tests"]["before"]["evidence"] == expected.before.found


# The command


def called(*arguments: object) -> Result:
    return CliRunner().invoke(program, ["report", *map(str, arguments), "--quiet"])


@pytest.mark.parametrize(
    ("options", "suffix"), [([], ".report.html"), pytest.param(["--public"], ".report.public.html", marks=pytest.mark.slow)]
)
def test_command_writes_beside_the_database(reports: Reports, options: list[str], suffix: str) -> None:
    database = reports.database(KNOWN)
    done = called(database, "--json", *options)
    assert done.exit_code == 0, done.output
    note = json.loads(done.stdout)
    assert note["html"] == str(database.with_suffix(suffix))
    assert json.loads(Path(note["json"]).read_text())["answer"] == note["answer"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [(["--run", "7"], "holds no run 7; it holds 1"), (["--out", "x.pdf"], "name a file that ends in .html")],
)
def test_command_refuses_in_one_line(reports: Reports, options: list[str], complaint: str) -> None:
    done = called(reports.database(KNOWN), *options)
    assert done.exit_code == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_command_needs_an_audit_in_the_folder(tmp_path: Path) -> None:
    done = called(tmp_path)
    assert (done.exit_code, "there is no such file" in done.stderr) == (2, True)
