"""Write the one-page summary of a run: HTML that prints on one sheet of A4, and Markdown."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Template

from embeddings.files.writing import write_text
from query.database.store import Store
from query.report.html.environment import environment
from query.report.sign_off.page import Page, page_of
from query.report.sign_off.phrases import ENGLISH, Phrases, read_phrases
from query.report.writing import reported

HERE = Path(__file__).parent


@dataclass(frozen=True)
class SignOff:
    """What was written: the page, and its Markdown."""

    page: Page
    markdown: str


def write_sign_off(store: Store, run: int, out: Path, *, template: Path = ENGLISH, public: bool = False) -> SignOff:
    """Write the summary of a run from what the database keeps; nothing is computed again, and nobody is named.

    Args:
        store: holds the run.
        run: its number.
        out: the HTML file; the Markdown stands beside it under the same name with ``.md``.
        template: phrases in another language, see `query.report.sign_off.phrases.read_phrases`.
        public: leave out figures of few images or persons, see `query.report.public`.

    Raises:
        TemplateError: the template cannot be used.
        StoreError: the database cannot be read.
        FullDisk, OSError: a file cannot be written.
    """
    say = read_phrases(template)
    found = reported(store, run, Path(store.path), public=public)[0].summary
    page = page_of(found, set_fingerprint(store, run), say)
    written = SignOff(page, "\n".join(markdown(page, say)) + "\n")
    write_text(out.with_suffix(".md"), written.markdown)
    write_text(out, html(page, say))
    return written


def set_fingerprint(store: Store, run: int) -> str:
    """SHA-256 (hex) of the generated set: of the SHA-256 of its files, each once, sorted, one a line.

    As ``find generated -type f -exec sha256sum {} + | cut -c1-64 | sort -u | sha256sum`` gives it, where every file is an image.
    """
    query = "SELECT DISTINCT sha256 FROM images WHERE run_id = $run AND role = 'generated' ORDER BY sha256"
    digests = store.sql(query, {"run": run})["sha256"].to_pylist()
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def html(page: Page, say: Phrases) -> str:
    """The page as one file without external resources."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return _template().render(page=page, say=say, style=style)


@cache
def _template() -> Template:
    return environment(HERE).get_template("page.html")


def markdown(page: Page, say: Phrases) -> Iterator[str]:
    """The same, line by line."""
    yield from (f"# {say('page.title')}", "", page.subtitle, page.notice, "")
    yield from (f"## {say('examined.heading')}", "", f"- {say('examined.set')}: ____________________")
    yield from (f"- {label}: {value}" for label, value in page.examined)
    if page.warnings:
        yield from ("", f"## {say('warnings.heading')}", "", *(f"- {line}" for line in page.warnings))
    yield from ("", f"## {say('found.heading')}", "")
    columns = [say(f"found.columns_{column}") for column in ("risk", "main", "control", "baseline", "excess")]
    yield from (_row(columns), _row(["---"] * len(columns)))
    for risk in page.risks:
        yield _row([f"{risk.name}: {risk.note}", *(risk.rates or [""] * 4)])
    yield ""
    yield from (f"- {risk.name}: {risk.conclusion}" for risk in page.risks)
    yield from (f"- {label}: {value}" for label, value in page.found)
    yield from ("", say("found.attacks_note"), "", f"## {say('withheld.heading')}", "", *page.withheld)
    yield from ("", f"## {say('limits.heading')}", "", *(f"- {line}" for line in page.limits))
    yield from ("", f"## {say('signed.heading')}", "")
    for who in ("examiner", "officer"):
        yield f"- {say(f'signed.{who}')}: ____________________ {say('signed.signature')}: ____________________"
    choices = "  ".join(f"[ ] {say(f'signed.{choice}')}" for choice in ("release", "release_less", "no_release"))
    yield f"- {say('signed.decision')}: {choices}"


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
