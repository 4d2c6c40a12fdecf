"""The documentation site: every document and every section of the guide has a page and a place, and every link leads to one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.loading import script
from tests.helpers.places import ROOT
from tests.test_docs import anchors

PLACES = re.findall(r"^ +- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The pages as MkDocs gets them."""
    with script("make_site") as maker:
        folder = tmp_path_factory.mktemp("site") / "pages"
        vars(maker).update(PAGES=folder)
        maker.write_pages()
        yield folder


def test_every_page_has_one_place(pages: Path) -> None:
    written = {path.relative_to(pages).as_posix() for path in pages.rglob("*.md")}
    assert sorted(PLACES) == sorted(written), "give the page a place under nav in mkdocs.yml"


def test_every_document_is_there_and_the_guide_by_sections(pages: Path) -> None:
    guide = (ROOT / "docs" / "GUIDE.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", guide, re.MULTILINE)
    assert len(list((pages / "guide").glob("*.md"))) == len(sections) + 1
    assert (pages / "guide" / "limits.md").read_text(encoding="utf-8").startswith("# Limits\n")
    documents = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md", "GUIDE.md"}
    assert documents <= {path.name for path in pages.glob("*.md")}
    words = sum(len(path.read_text(encoding="utf-8").split()) for path in (pages / "guide").glob("*.md"))
    assert words == len(guide.split())


def test_every_link_leads_to_a_page_and_its_heading(pages: Path) -> None:
    for page in pages.rglob("*.md"):
        text = re.sub(r"^( *)(```+).*?^\1\2$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                name, _, heading = target.partition("#")
                path = (page.parent / name).resolve() if name else page
                assert path.is_file(), f"{page.name}: {target}"
                assert not heading or heading in anchors(path), f"{page.name}: {target}"


def test_the_site_asks_nothing_of_others(pages: Path) -> None:
    """The plug-in `offline` would load its shim from elsewhere, the theme its fonts."""
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    (shim,) = re.findall(r"polyfills: \[(\S+)\]", settings)
    assert (pages / shim).is_file()
    assert "iframe-worker" in shim  # the name by which the plug-in knows it
    sources = [
        found for page in pages.rglob("*.md") for found in re.findall(r'src="([^"]{,60})', page.read_text(encoding="utf-8"))
    ]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_lists_and_code_in_them_are_indented_as_markdown_of_python_wants(pages: Path) -> None:
    start = (pages / "index.md").read_text(encoding="utf-8")
    assert "3. Run the audit:\n\n    ```sh\n    synthtrace audit real/ generated/ --out report\n    ```\n" in start
    assert re.search(r"^    .+\n\n4\. ", start, re.MULTILINE)
