"""A run as a notebook shows it."""

from pathlib import Path

from indexer.build.build import build
from query.notebook import SHOWN, ShownPredictions, compare
from query.report.text.predictions import answer_lines
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


def test_predictions_are_shown_by_their_answer_and_the_smallest_p(tmp_path: Path) -> None:
    write_images(tmp_path / "real", range(16))
    write_images(tmp_path / "generated", range(8, 20))
    generated = build(tmp_path / "g.c", tmp_path / "generated", settings=TOY)
    names = [f"{row:03d}.png" for row in range(16)]
    odd = "<b>.png"
    (tmp_path / "real" / names[15]).rename(tmp_path / "real" / odd)
    run = compare(
        build(tmp_path / "r.c", tmp_path / "real", fitted_on=generated), generated, groups={name: name for name in names[:15]}
    )
    predictions = run.predict(dict.fromkeys(names[:8], False), methods=("phash",))
    assert len(repr(predictions)) < 100
    assert isinstance(predictions, ShownPredictions)
    html = predictions._repr_html_()
    body = html.partition("<tbody>")[2]
    shown = [row.partition("</td>")[0].removeprefix("<tr><td>") for row in body.split("</tr>")[:-1]]
    assert len(shown) == SHOWN
    by_p = dict(zip(predictions.names, predictions.methods[0].p, strict=True))
    values = [by_p[name.replace("&lt;", "<").replace("&gt;", ">")] for name in shown]
    assert values == sorted(values)
    assert values == sorted(by_p.values())[:SHOWN]
    assert "<b>" not in html
    for line in answer_lines(predictions):
        assert line.replace('"', "&quot;") in html
