"""The one-page summary in a browser: one sheet of A4 also where it says most, in every language that comes with it."""

import re
import shutil
from pathlib import Path

import pytest

from query.leakage.attacks import AttackKind
from query.report.sign_off.page import Page, Risk
from query.report.sign_off.phrases import ENGLISH, Phrases, read_phrases
from query.report.sign_off.writing import html

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium"),
]
MANY, DIGEST = 10_000_000, "ab" * 32


def longest(say: Phrases) -> Page:
    """Every warning and every rule, and of alternatives the longest."""

    def texts(*keys: str, **fields: object) -> list[str]:
        return [say(key, **fields) for key in keys]

    rates = [say.interval(0.5, 0.4, 0.6)] * 4
    risks = [
        Risk(say(f"found.{kind}"), say(f"found.{kind}_note"), rates, say("found.no_evidence", patients=None))
        for kind in AttackKind
    ]
    called = say("found.membership_called", called=None, tested=None, fdr="10%")
    membership = f"{say('found.membership_used', patients=None, p=0.0005, share='12%')} {called}"
    rules = texts(
        *(f"withheld.{rule}" for rule in ("same_file", "copy", "filter", "blank", "predicted_used", "match")),
        **{"count": MANY, "compared": MANY, "real": MANY},
    )
    return Page(
        subtitle=say("page.subtitle", run=12345, date="2026-11-29 20:22", version="0.1.0"),
        notice=say("page.names_nobody_public", fewest=11),
        examined=[
            (say("examined.generated"), say("examined.generated_value", count=MANY, fingerprint=DIGEST)),
            (say("examined.real"), say("examined.real_value", count=MANY, used=None, unused=None, unlabelled=None)),
            (say("examined.patients"), say("examined.patients_unknown")),
            (say("examined.method"), say("examined.method_fingerprint", views="phash, sift", seed=0, fingerprint=DIGEST[:16])),
        ],
        risks=[*risks, Risk(say("found.inference"), say("found.inference_note"), [], say("found.inference_missing"))],
        found=[
            (say("found.copies"), say("found.copies_value", exact=None, near=None, generated=MANY)),
            (say("found.membership"), membership),
            (say("found.leakage"), say("found.leakage_open", p=0.5)),
        ],
        withheld=[
            say("withheld.some", count=MANY, generated=MANY),
            "; ".join(rules),
            *texts("withheld.beyond_filter", count=MANY),
            say("withheld.remaining_open"),
        ],
        limits=texts(*(f"limits.{each}" for each in ("first", "second", "third", "fourth"))),
        warnings=texts(*(f"warnings.{each}" for each in ("other_kind", "unchecked", "turned", "shared", "alike"))),
    )


@pytest.mark.parametrize("language", ["english", "german"])
def test_it_prints_on_one_sheet(language: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    say, file = read_phrases(ENGLISH.with_name(f"{language}.toml")), tmp_path / "page.html"
    file.write_text(html(longest(say), say))
    with playwright.sync_playwright() as started:
        page = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
        page.goto(file.as_uri())
        paper = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
