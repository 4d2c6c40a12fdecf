"""A run as a notebook shows it."""

from pathlib import Path

from indexer.build.build import build
from query.notebook import SHOWN, compare
from tests.helpers.making import write_images
from tests.helpers.toy import TOY


def test_a_run_is_shown_by_its_closest_pairs(tmp_path: Path) -> None:
    write_images(tmp_path / "real", range(12))
    write_images(tmp_path / "generated", range(9, 20))
    generated = build(tmp_path / "g.c", tmp_path / "generated", settings=TOY)
    run = compare(
        build(tmp_path / "r.c", tmp_path / "real", fitted_on=generated), generated, groups={"000": "p", "001": "p"}, k=2
    )
    assert repr(run).startswith("Run(12 real images, 11 generated images; ")
    html = run._repr_html_()
    assert html.count("<img") == 2 * SHOWN
    first = html.partition("<tbody><tr>")[2].partition("</tr>")[0]
    assert first.count("009.png") + first.count("010.png") + first.count("011.png") == 2  # an image and its copy
    assert len(run.groups.named) == 2
