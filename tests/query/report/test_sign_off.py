"""The one-page summary: what it says of runs of every kind, that it names nobody, and which templates are refused."""

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from query.cli.group import program
from query.database.record_attacks import read_attacks, rows_of_attacks
from query.database.store import Store
from query.leakage.attacks import Attack, AttackKind, Attacks, Rate
from query.report.public import publicly
from query.report.run_summary import Known, summarise
from query.report.sign_off.phrases import ENGLISH, TemplateError, read_phrases
from query.report.sign_off.writing import set_fingerprint, write_sign_off
from query.report.writing import write_report
from tests.helpers.reporting import GENERATED, REAL, State, add_filter, make_run

pytestmark = pytest.mark.usefixtures("few_pairs")

GERMAN = ENGLISH.with_name("german.toml")
STATES = {
    "nothing known": State(),
    "reference": State(unused=12, decided=True),
    "both kinds": State(used=6, unused=12, decided=True, matched=True, threshold=3.0),
}
ATTACKS = Attacks(
    {AttackKind.SINGLING_OUT: Attack(40, Rate(0.5, 0.4, 0.6), Rate(0.1, 0.0, 0.2), Rate(0.05, 0, 0.1), Rate(0.44, 0.3, 0.6))},
    {AttackKind.LINKABILITY: "it takes at least 4 patients"},
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make_run(tmp_path_factory.mktemp("run") / "run", state) for name, state in STATES.items()}


def copied(database: Path, tmp_path: Path) -> Path:
    """The same run to be changed; its images are where they were."""
    return Path(shutil.copy(database, tmp_path / "own.duckdb"))


def written(database: Path, tmp_path: Path, **options: Any) -> str:
    with Store.open(database, read_only=True) as store:
        text = write_sign_off(store, 1, tmp_path / "s.html", **options).markdown
    assert (tmp_path / "s.md").read_text() == text
    return text


@pytest.mark.parametrize("template", [ENGLISH, GERMAN], ids=["english", "german"])
@pytest.mark.parametrize("kind", STATES)
def test_it_names_nobody_and_says_every_figure_in_both_forms(
    runs: dict[str, Path], kind: str, template: Path, tmp_path: Path
) -> None:
    text = written(runs[kind], tmp_path, template=template)
    page = (tmp_path / "s.html").read_text()
    assert not re.search(r"\.png|<img|/tmp|image real|patient \d", text + page)  # names, paths and groups of these runs
    assert "$" not in text
    assert "safe" not in text.replace('not "safe"', "")
    numbers = re.findall(r"\d[\d.,]*", text)
    assert [number for number in numbers if number not in page] == []
    assert oct((tmp_path / "s.html").stat().st_mode)[-3:] == "600"


def test_what_is_known_decides_what_is_said(runs: dict[str, Path], tmp_path: Path) -> None:
    said = {kind: written(database, tmp_path) for kind, database in runs.items()}
    assert "Not tested: it takes real images of unknown membership" in said["nothing known"]
    assert "not measured: it takes real images known to be used and others known not to be" in said["reference"]
    assert "not measured: this run did not make it" in said["both kinds"]  # of before attacks were kept
    assert re.search(r"Membership: .* patients of unknown membership", said["reference"])
    for text in said.values():
        assert "Inference: Not tested: this tool has no test for attributes." in text
        assert "What this page does not say" in text


@pytest.mark.parametrize("public", [False, True])
def test_page_and_report_of_a_filter_run_agree(tmp_path: Path, public: bool) -> None:
    database = make_run(tmp_path / "run", State(used=REAL))
    add_filter(database, withheld=GENERATED - 4, risk=0.01)
    with Store.open(database) as store:
        metrics = {"metric": ["p_value", "share_low"], "value": [0.5, 0.0], "low": [None] * 2, "high": [None] * 2}
        store.replace(1, {"metrics": {"method": ["leakage after filter: combined"] * 2, **metrics}})
    text = written(database, tmp_path, public=public)
    with Store.open(database, read_only=True) as store:
        report = write_report(store, 1, tmp_path / "r.html", public=public)
    said = " ".join(f"{each.note} {each.more}" for each in report.answer)
    assert f"{REAL}, all used in training; others, not used, were compared with them" in text
    assert f"{REAL} real images: all are given as used in training" in said
    assert "Hold-out images, not used in training, calibrated the filter" in said
    assert "about 1% of the images would be withheld" in said
    assert not re.search("did not decide|Nothing calibrates these figures|certainly not used", said)
    assert "Nothing here is calibrated" not in " ".join(report.limits)
    page = (tmp_path / "r.html").read_text()
    assert "hold-out images, not used, calibrated the filter" in page
    assert "no real images are known not to be used" not in page
    if public:
        assert "Singling out: Not shown in this form" in text
        assert "was not measured" not in text + said
        return
    assert f"Known of the real images: {REAL} used, 0 not used, 0 without a label." in page
    assert "The confidential report lists all of them" in text
    names = {f"image generated {number:02}.png" for number in range(GENERATED - 4)}
    assert len(names) > 20  # more than are listed at once
    assert all(f">{name}</th>" in page for name in names)
    assert {each["generated"] for each in report.as_dict()["withheld"]["images"]} >= names
    assert "Copies: Exact and near-exact copies were not searched for in this run." in text
    assert f"1: share structure with a real image (1 of {REAL} real images were compared point by point)" in text  # SHOWN is 1


def test_images_that_only_other_rules_withhold_are_counted_with_the_rules(runs: dict[str, Path], tmp_path: Path) -> None:
    database = copied(runs["both kinds"], tmp_path)
    add_filter(database, withheld=1, risk=0.01)
    with Store.open(database, read_only=True) as store:
        report = write_report(store, 1, tmp_path / "r.html")
        withheld = report.as_dict()["withheld"]
    rules = [{reason["rule"] for reason in each["reasons"]} for each in withheld["images"]]
    beyond = [each for each in rules if each.isdisjoint({"filter", "blank"})]
    assert withheld["beyond_filter"] == len(beyond) == withheld["withheld"] - 1 > 1
    assert withheld["beyond_rules"] == {"match": len(beyond)}
    said = f"{len(beyond)} of them fall under other rules alone (match: calibrated on 50 real images"
    assert said in (tmp_path / "r.html").read_text()
    assert f"{len(beyond)} fall under other rules than the filter's alone" in written(database, tmp_path)
    assert "other rules than the filter" not in written(database, tmp_path, public=True)  # they are too few


def test_a_filter_without_hold_out_calibrates_nothing(tmp_path: Path) -> None:
    database = make_run(tmp_path / "run", State(used=REAL))
    add_filter(database, withheld=3, risk=None)
    text = written(database, tmp_path)
    with Store.open(database, read_only=True) as store:
        report = write_report(store, 1, tmp_path / "r.html")
    assert f"{REAL} real images: all are given as used in training" in report.answer[0].note
    assert "Nothing calibrates these figures: only images known to be used were given" in report.answer[1].note
    assert "others, not used, were compared" not in text
    assert "Not measured: it takes real images known to be used and others known not to be" in (tmp_path / "r.html").read_text()


def test_attacks_are_kept_and_told(runs: dict[str, Path], tmp_path: Path) -> None:
    database = copied(runs["both kinds"], tmp_path)
    with Store.open(database) as store:
        for table, rows in rows_of_attacks(ATTACKS):
            store.replace(1, {table: rows})
        assert read_attacks(store, 1) == ATTACKS
    text = written(database, tmp_path)
    row = "| 0.50 [0.40, 0.60] | 0.10 [0.00, 0.20] | 0.05 [0.00, 0.10] | 0.44 [0.30, 0.60] |"
    assert row in text
    assert "- Singling out: Evidence of this risk, from 40 patients of either kind." in text
    assert "- Linkability: not measured: it takes more patients of either kind with two images each" in text
    assert "| 0,50 [0,40; 0,60] |" in written(database, tmp_path, template=GERMAN)


def test_public_rates_are_coarse_and_say_no_less_and_no_more(tmp_path: Path) -> None:
    """In steps of 11 patients of 40, ends outwards; what was evidence is evidence."""
    faint = Attack(40, Rate(0.5, 0.4, 0.6), Rate(0.4, 0.3, 0.5), Rate(0.05, 0, 0.1), Rate(0.1, 0.004, 0.2))
    few = Attack(10, *(Rate(0.5, 0.4, 0.6) for _ in range(4)))
    database = make_run(tmp_path / "run", STATES["both kinds"])
    with Store.open(database) as store:
        for table, rows in rows_of_attacks(Attacks({AttackKind.SINGLING_OUT: faint, AttackKind.LINKABILITY: few}, {})):
            store.replace(1, {table: rows})
        summary = replace(summarise(store, 1, database)[0], known=Known(30, 30, 0, 60, "given"))
    found = publicly(summary, 11).attacks
    assert found is not None
    assert AttackKind.LINKABILITY in found.missing
    public = found.made[AttackKind.SINGLING_OUT]
    assert public.patients == 33
    for name in ("main", "control", "baseline", "risk"):
        exact, shown = (getattr(attack, name) for attack in (faint, public))
        assert shown.high >= exact.high
        assert shown.low <= max(exact.low, 0.01)
        assert shown.low <= shown.value <= shown.high
    assert public.risk.low == 0.01


def test_the_public_form_hides_what_stands_on_few(runs: dict[str, Path], tmp_path: Path) -> None:
    text = written(runs["both kinds"], tmp_path, public=True)
    assert "Counts of fewer than 11 images or persons are not shown" in text
    assert "[not shown]" in text
    assert "fingerprint" not in text.split("SHA-256 of the set")[0]
    assert "fingerprint" in written(runs["both kinds"], tmp_path)


def test_the_set_is_recognised_by_its_files(runs: dict[str, Path]) -> None:
    folder = next(runs["reference"].parent.glob("*generated"))
    files = sorted({hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
    with Store.open(runs["reference"], read_only=True) as store:
        assert set_fingerprint(store, 1) == hashlib.sha256("".join(f"{each}\n" for each in files).encode()).hexdigest()


def test_the_same_run_gives_the_same_bytes(runs: dict[str, Path], tmp_path: Path) -> None:
    first = written(runs["reference"], tmp_path), (tmp_path / "s.html").read_bytes()
    assert first == (written(runs["reference"], tmp_path), (tmp_path / "s.html").read_bytes())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('copies = "Copies"', ""), "phrase found.copies is missing; it says 'Copies' in English"),
        (('copies = "Copies"', 'copies = "Copies"\nkopien = "x"'), "there is no phrase found.kopien"),
        (("$count: cannot be", "cannot be"), "phrase withheld.blank lacks $count; its fields are: $count"),
        (
            ('copies = "Copies"', 'copies = "$secret"'),
            "found.copies has $secret, which is none of its fields; its fields are: none",
        ),
        (('copies = "Copies"', 'copies = "5 $ each"'), "phrase found.copies has a dollar that starts no field"),
        (('copies = "Copies"', "copies = 3"), "phrase found.copies is no text"),
        (('copies = "Copies"', f'copies = "{"x" * 500}"'), "has 500 characters; 400 are the most"),
        (('copies = "Copies"', "copies ="), "no TOML"),
        (("[format]", 'loose = "x"\n[format]'), "loose stands in no section"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    template = tmp_path / "t.toml"
    template.write_text(ENGLISH.read_text().replace(*change))
    with pytest.raises(TemplateError) as error:
        read_phrases(template)
    assert complaint in str(error.value)
    assert str(error.value).startswith(f"{template}: ")
    assert "\n" not in str(error.value)


def test_a_template_runs_no_code_and_writes_no_html(runs: dict[str, Path], tmp_path: Path) -> None:
    template, database = tmp_path / "t.toml", runs["reference"]
    hostile = "<script>alert(1)</script> {{ say.__class__ }} {% raw %} \\u202E"
    template.write_text(ENGLISH.read_text().replace('heading = "Signatures"', f'heading = "{hostile}"'))
    written(database, tmp_path, template=template)
    page = (tmp_path / "s.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ say.__class__ }} {% raw %} \\u202e" in page
    assert "<script" not in page


def test_the_command_writes_both_files_and_refuses_a_template_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = CliRunner().invoke(program, ["report", str(runs["reference"]), "--summary", "--out", str(out), "-q"])
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.md"]
    assert "What must be withheld" in done.stdout
    done = CliRunner().invoke(program, ["report", str(runs["reference"]), "--template", str(GERMAN)])
    assert done.exit_code == 2
    assert "--template is for --summary" in done.stderr


def test_every_phrase_is_used(runs: dict[str, Path]) -> None:
    """A phrase that nothing says is one that translators waste their time on."""
    code = "".join(path.read_text() for path in ENGLISH.parent.glob("*.[ph][yt]*"))
    for key in read_phrases().texts:
        section, _, name = key.partition(".")
        stem = re.sub(r"^(columns|patients|reason)_.*", r"\1_", name)
        assert f"{section}.{stem}" in code or f'"{name}"' in code or f"'{name}'" in code or name in SAID, key


SAID = (
    "same_file",
    "copy",
    "filter",
    "blank",
    "predicted_used",
    "match",
    "singling_out",
    "linkability",
    "singling_out_note",
    "linkability_note",
)
