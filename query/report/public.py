"""What of a report may be shown to anybody: no names, no paths, no pixels, and no figure of a single image can be read off it."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from query.report.distributions import ALL_PAIRS, FEWEST, GROUPS, coarse

_LOWEST = {"hamming": 0.0, "cosine": 0.0, "standardised": -15.0}  # where distances, or their histograms, begin


def publicly(findings: Mapping[str, Any]) -> dict[str, Any]:
    """The part without names, paths, pixels and figures of single images: what stays is listed here, all else is left out."""
    decided, judged = findings["decisions"], findings["evaluation"]
    made: dict[str, Any] = {
        **{key: findings[key] for key in ("format", "known", "versions", "answer", "limits")},
        "public": True,
        "run": {key: findings["run"][key] for key in ("number", "created", "k", "mirror", "distances")},
        "sides": {role: _only(side, "images", "failed", "blank") for role, side in findings["sides"].items()},
        "settings": {key: _numbers(findings["settings"].get(key)) for key in ("decoding", "sample", "weights")},
        "views": _views(findings["views"], findings["sides"]["generated"]["images"]),
        "decisions": decided and _decisions(decided),
        "evaluation": judged and {**_only(judged, "groups", "methods", "roc"), "reliability": None, "reason": ""},
        "leakage": {**findings["leakage"], "reason": "not measured" if findings["leakage"]["reason"] else ""},
        "pairs": {**_only(findings["pairs"], "matched", "looked_at", "strong", "rule"), "threshold": None, "shown": []},
        "withheld": {**_only(findings["withheld"], "withheld", "remain", "rules", "risk"), "images": [], "threshold": None},
        "failures": [],
        "blank": [],
    }
    return made


def _decisions(decided: Mapping[str, Any]) -> dict[str, Any]:
    plain = ("method", "primary", "calibrated", "images", "says_used", "says_not", "smallest_p")
    methods = [{**_only(method, *plain), "said": "", "threshold": None} for method in decided["methods"]]
    primary = decided["primary"]
    if primary is None:
        return {"methods": methods, "primary": None}
    keys = ("method", "in_question", "images", "answers", "level", "reference", "prior", "power")
    shown = {**_only(primary, *keys), "called_used": [], "histogram": {}}
    return {"methods": methods, "primary": shown}


def _only(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys}


def _numbers(values: Any) -> dict[str, Any]:
    """Numbers alone: a text might name something."""
    found: Sequence[tuple[str, Any]] = list(values.items()) if isinstance(values, dict) else []
    return {key: value for key, value in found if value is None or isinstance(value, int | float)}


def _views(shown: Sequence[Mapping[str, Any]], generated: int) -> list[dict[str, Any]]:
    """Views without notes, smallest distances and marks; medians of `FEWEST` images or more; coarse histograms.

    The mark of the reference is the distance of one image, and so is a smallest distance: both stay out.
    """
    keys = ("view", "metric", "dim", "unit", "fingerprint", "blank", "pairs", "auroc")
    return [
        {
            **{key: view[key] for key in keys},
            "note": "",
            "nearest": [
                {"images": row["images"], "number": row["number"], "smallest": None, "q05": None, "median": _median(row)}
                for row in view["nearest"]
            ],
            "histogram": _histograms(view, generated),
            "reference": None,
            "thresholds": [],
        }
        for view in shown
    ]


def _histograms(view: Mapping[str, Any], generated: int) -> dict[str, Any]:
    """Coarse histograms of all pairs and of real images; those of too few images are left out.

    A bin of pairs holds as many as `FEWEST` real images have together, so that it is not one image with all its copies. Generated
    images are left out: ten of them near to a real image may be copies of that one. No end of a histogram is where its outermost
    image is: it begins where distances can begin, and real images end at the median of all pairs.
    """
    shown = view["histogram"]
    if ALL_PAIRS not in shown:
        return {}
    lowest, pairs = _LOWEST[view["metric"]], shown[ALL_PAIRS]["counts"]
    middle = next(place for place, upto in enumerate(accumulate(pairs), 1) if 2 * upto >= sum(pairs))
    made = {ALL_PAIRS: coarse([lowest, *shown[ALL_PAIRS]["edges"][1:]], pairs, FEWEST * generated)}
    for name in GROUPS:
        if name in shown:
            counts, edges = shown[name]["counts"], [lowest, *shown[name]["edges"][1:]]
            made[name] = coarse(edges, counts) if any(counts[middle:]) else coarse(edges[: middle + 1], counts[:middle])
    return {name: found for name, found in made.items() if found}


def _median(row: Mapping[str, Any]) -> float | None:
    return float(f"{row['median']:.2g}") if row["number"] >= FEWEST else None
