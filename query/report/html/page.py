"""Write the HTML page: findings and figures through one template into one self-contained file."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template

from query import text
from query.report.figures.drawing import Charts, PairPicture
from query.report.html.environment import environment
from query.report.patients import unit
from query.report.run_summary import RunSummary
from query.report.text.copies import around_copies, copies_sentences
from query.report.text.evaluation import patients_sentence, siblings_sentence
from query.report.text.memorisation import memorisation_sentences
from query.report.text.numbers import interval, number, p_text
from query.report.text.patients import counts_sentence
from query.report.text.predictions import probability_range, probability_sentence
from query.report.text.quality import TITLE, quality_rows, quality_sentences
from query.report.text.sentences import Answer, beyond_filter_sentence
from query.report.text.units import distance_text, short_unit

HERE = Path(__file__).parent
LISTED = 20  # rows of a long list that stand open
RULES = {
    "same file": "is byte for byte a real image",
    "copy": "shows the same pixels as a real image, or nearly the same",
    "filter": "stands nearer to a used image than images that copy nothing stand to images not used",
    "blank": "cannot be compared: no view sees anything in it",
    "predicted used": "is nearest to a real image whose patient is called used",
    "match": "shares so much structure with a real image that both look like one picture",
}
FIGURES = {
    "nearer_to_training": "share of generated images nearer to a used image than to one not used",
    "memorised_training": "share with a filter score above the threshold",
    "memorised_hold_out": "the same towards images not used, which cannot leak",
    "memorised_excess": "their difference",
}
ATTACKS = {"singling_out": "singling out: one patient is so near", "linkability": "linkability: two images are of one patient"}
MEASURES = {
    "inliers": "points that fit",
    "matches": "points matched",
    "inlier_ratio": "share that fits",
    "area": "area covered, share",
    "residual": "residual (pixels of 256)",
    "correlation": "grey-level correlation",
    "ssim": "SSIM",
    "value": "match value",
}


def rendered(
    summary: RunSummary,
    answer: Sequence[Answer],
    limits: Sequence[str],
    charts: Charts,
    pictures: Mapping[int, PairPicture],
) -> str:
    """The HTML.

    Args:
        summary: see `query.report.run_summary.summarise`.
        answer, limits: see `query.report.text.sentences`.
        charts: from `query.report.figures.drawing.charts`.
        pictures: place of a pair -> `query.report.figures.drawing.pair`.
    """
    style = (HERE / "style.css").read_text(encoding="utf-8")
    words: dict[str, Any] = {"memorisation": memorisation_sentences(summary.memorisation)}
    words |= {"listed": LISTED, "rules": RULES, "figures": FIGURES, "measures": MEASURES, "attack_names": ATTACKS}
    words["shorts"] = {view.view: short_unit(view.view, view.metric) for view in summary.views}
    told = {
        "found": summary,
        "copies": copies_sentences(summary.copies),
        "warnings": around_copies(summary.warnings),
        "answer": answer,
        "quality": {
            "title": TITLE,
            "rows": quality_rows(summary),
            "notes": list(quality_sentences(summary.quality)) if summary.quality else [],
        },
        "limits": limits,
        "settings": flat(summary.settings),
        "beyond_filter": beyond_filter_sentence(summary),
    }
    return _template().render(**told, charts=charts, pictures=pictures, style=style, **words)


@cache  # it takes longer to compile than to fill in
def _template() -> Template:
    made = environment(HERE)
    made.filters |= {
        "many": lambda number: "-" if number is None else f"{number:,}",
        "fixed": lambda value, digits=2: number(value, f"z.{digits}f"),
        "percent": lambda share: "-" if share is None else f"{share:.0%}",
        "distance": lambda number, view: distance_text(view, number),
        "who": unit,
        "decisions": counts_sentence,
        "chance": probability_sentence,
        "chances": probability_range,
        "patients_found": patients_sentence,
        "siblings": siblings_sentence,
        "ends": interval,
        "p": p_text,
        "name": text.name,
        "of": text.many,
    }
    return made.get_template("template.html")


def flat(settings: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Settings within settings as one list of names and values."""
    found: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{above} {key}".strip()
        found += flat(value, name) if isinstance(value, dict) else [(name, "none" if value is None else str(value))]
    return found
