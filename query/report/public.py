"""The public report: removes names, paths, pixels, and figures of too few images.

What is shown is listed here; all else is left out. A figure of real images is based on images of at least `cells.FEWEST` persons,
where persons are known. None means: not shown.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

from query.database.evaluation import BESIDE
from query.evaluation.resampling import Estimate, Measured
from query.report.cells import FEWEST, coarse_curve, enough, shown_cells
from query.report.text.sentences import limits

TOO_FEW = f"not shown: it would stand on fewer than {FEWEST} images or persons"
_GROUPS = {
    "given": "Groups (patients) are as given.",
    "near-duplicates": "Patients are unknown: near-duplicates were grouped.",
    "nobody": "Patients are unknown: every image counts as a group by itself, so intervals may be too narrow.",
}
_BY_ANSWERS = ("f1", "recall", "specificity", "tp", "fp", "tn", "fn")  # what counts of forced answers can be computed from
_RATE = 0.05  # of images not used, at which `tpr_at_0.05` is taken

Facts = Mapping[str, Any]


def publicly(findings: Facts, least: int) -> dict[str, Any]:
    """The part that may be shown to anybody, without the answer in words.

    Args:
        findings: of `query.report.findings.gather`, histograms coarse.
        least: real images that a figure must stand on, see `query.report.cells.enough_images`.
    """
    sides = _sides(findings["sides"], least)
    known = _known(findings, sides, least)
    rule = "a fixed rule, not calibrated" if findings["pairs"]["threshold"] is None else "calibrated on real images"
    decided, judged = findings["decisions"], findings["evaluation"]
    return {
        **{key: findings[key] for key in ("format", "versions")},
        "public": True,
        "fewest": FEWEST,
        "run": {key: findings["run"][key] for key in ("number", "created", "k", "mirror", "distances")},
        "sides": sides,
        "known": known,
        "settings": {key: _numbers(findings["settings"].get(key)) for key in ("decoding", "sample", "weights")},
        "views": [_view(view, least) for view in findings["views"]],
        "decisions": decided and _decisions(decided, findings, known, least),
        "evaluation": judged and _evaluation(judged, findings, known, least),
        "leakage": _leakage(findings["leakage"], findings, least),
        "pairs": {**_pairs(findings["pairs"], sides, least), "rule": rule},
        "withheld": _withheld(findings["withheld"]),
        "limits": limits({**findings, "pairs": {"rule": rule}}),
        "failures": [],
        "blank": [],
    }


def _numbers(values: Any) -> dict[str, Any]:
    """Numbers alone: a text might name something."""
    found: Sequence[tuple[str, Any]] = list(values.items()) if isinstance(values, dict) else []
    return {key: value for key, value in found if value is None or isinstance(value, int | float)}


# What was compared


def _sides(sides: Facts, least: int) -> dict[str, Any]:
    made = {}
    for role, fewest in (("generated", FEWEST), ("real", least)):
        side = sides[role]
        seen = shown_cells({"blank": side["blank"], "seen": side["images"] - side["blank"]}, fewest)
        failed = side["failed"] if enough(side["failed"], fewest) else None
        images = side["images"] if role == "generated" or enough(side["images"], fewest) else None
        made[role] = {"images": images, "failed": failed, "blank": seen["blank"]}
    return made


def _known(findings: Facts, sides: Facts, least: int) -> dict[str, Any]:
    known = findings["known"]
    shown = shown_cells({name: known[name] for name in ("used", "not_used", "unlabelled")}, least)
    images = sides["real"]["images"]
    told = images is not None and enough(known["groups"], FEWEST) and enough(images - known["groups"], FEWEST)
    return {**shown, "groups": known["groups"] if told else None, "groups_from": known["groups_from"]}


def _both_kinds(findings: Facts, least: int) -> bool:
    """Whether there are enough images of either kind for figures that compare them."""
    return all(findings["known"][kind] >= least for kind in ("used", "not_used"))


# Distances


def _view(view: Facts, least: int) -> dict[str, Any]:
    """Without note, fingerprint (which hashes what was learned from images), marks and smallest distances."""
    number = {row["images"]: row["number"] for row in view["nearest"]}
    told = all(number.get(kind, 0) >= least for kind in ("used", "not used"))
    nearest = [row for row in view["nearest"] if row["images"] != "generated" and row["number"] >= 2 * least]
    return {
        **{key: view[key] for key in ("view", "metric", "dim", "unit", "histogram")},
        "note": "",
        "nearest": [{"images": row["images"], "middle_half": float(f"{row['middle_half']:.2g}")} for row in nearest],
        "auroc": _ends(view["auroc"]) if told and view["auroc"] else None,
        "reference": None,
        "thresholds": [],
    }


def _ends(found: Estimate, step: float = 0.01) -> Estimate:
    """A value with its interval alone, in steps of 0.01: finer ones tell the rank of an image."""
    value, low, high = (_rounded(each, step) for each in found.ends)
    return Estimate(value, low, high)


def _rounded(value: float, step: float = 0.01) -> float:
    return round(round(value / step) * step, 4) + 0.0 if isfinite(value) else nan


# Decisions


def _decisions(decided: Facts, findings: Facts, known: Facts, least: int) -> dict[str, Any]:
    primary = decided["primary"]
    methods = [_method(method, findings, known, least) for method in decided["methods"]]
    return {"methods": methods, "primary": primary and _primary(primary, findings, known, least)}


def _method(method: Facts, findings: Facts, known: Facts, least: int) -> dict[str, Any]:
    note = {name: method[name] for name in ("says_used", "says_not")}
    images = _told(method["images"], findings, known, least)
    shown = shown_cells({**note, "": method["images"] - sum(note.values())}, least)
    plain = {key: method[key] for key in ("method", "primary", "calibrated")}
    answers = {name: None if images is None else shown[name] for name in note}
    return {**plain, "images": images, **answers, "note": "", "smallest_p": None, "threshold": None}


def _primary(primary: Facts, findings: Facts, known: Facts, least: int) -> dict[str, Any]:
    images = _told(primary["images"], findings, known, least)
    answers = shown_cells(primary["answers"], least)
    return {
        **{key: primary[key] for key in ("method", "in_question", "fdr", "prior")},
        "images": images,
        "answers": answers if images is not None else dict.fromkeys(answers),
        "reference": known["not_used"] if primary["reference"] else 0,
        "power": [],
        "called_used": [],
        "histogram": {},
    }


def _told(images: int, findings: Facts, known: Facts, least: int) -> int | None:
    """How many images a method tells of, if no number of labels can be computed from that."""
    facts, total = findings["known"], findings["sides"]["real"]["images"]
    if images != total and None in known.values():
        return None
    others = (total, facts["unlabelled"], facts["used"] + facts["not_used"])
    told = enough(images, least) and all(enough(abs(other - images), least) for other in others if other)
    return images if told else None


# Figures of labelled images


def _evaluation(judged: Facts, findings: Facts, known: Facts, least: int) -> dict[str, Any]:
    if not _both_kinds(findings, least):
        return {"groups": "", "methods": [], "roc": [], "reliability": None, "reason": TOO_FEW}
    return {
        "groups": _GROUPS[known["groups_from"]],
        "methods": [_figures(figures, known, least) for figures in judged["methods"]],
        "roc": [curve for curve in (_curve(each, least) for each in judged["roc"]) if curve],
        "reliability": None,
        "reason": "",
    }


def _figures(figures: Facts, known: Facts, least: int) -> dict[str, Any]:
    """Metrics of a method; those that counts of its answers can be computed from only where no count is small."""
    hidden = set(() if _answers_shown(figures, known, least) else _BY_ANSWERS)
    hidden |= set(() if _rate_shown(figures, known, least) else ("tpr_at_0.05",))
    metrics = {name: figure for name, figure in figures.items() if name != "method"}
    return {"method": figures["method"]} | {name: _figure(name, figure, name in hidden) for name, figure in metrics.items()}


def _figure(name: str, figure: Measured, hidden: bool) -> Measured:
    beside: dict[str, Any] = {key: nan if hidden else getattr(figure, key) for key in BESIDE}
    if hidden:
        return Measured(nan, nan, nan, **beside)
    if name in ("tp", "fp", "tn", "fn"):
        return figure
    rounded = {key: _rounded(value) for key, value in beside.items()}
    return Measured.beside(_ends(figure), **{**rounded, "p_value": float(f"{figure.p_value:.1g}")})


def _answers_shown(figures: Facts, known: Facts, least: int) -> bool:
    """Whether the four counts, and how many images a method gave no answer to, are all none or enough."""
    for kind, cells in (("used", ("tp", "fn")), ("not_used", ("tn", "fp"))):
        counts = [figures[cell].value for cell in cells]
        if known[kind] is None or not all(map(isfinite, counts)):
            return False
        if not all(enough(count, least) for count in (*counts, known[kind] - sum(counts))):
            return False
    return True


def _rate_shown(figures: Facts, known: Facts, least: int) -> bool:
    """Whether the share found at 5% stands on enough images of either kind."""
    value = figures["tpr_at_0.05"].value
    if not isfinite(value) or known["used"] is None or known["not_used"] is None:
        return False
    found = round(value * known["used"])
    return _RATE * known["not_used"] >= least and enough(found, least) and enough(known["used"] - found, least)


def _curve(curve: Facts, least: int) -> dict[str, Any] | None:
    """A ROC with points so far apart that enough images lie between two."""
    used, unused = (curve["images"][kind] for kind in ("used", "not_used"))
    counts = [round(share * unused) for share in curve["false"]], [round(share * used) for share in curve["true"]]
    places = coarse_curve(*counts, least)
    shares = {side: [_rounded(curve[side][place]) for place in places] for side in ("false", "true")}
    return {"method": curve["method"], **shares, "auroc": _ends(curve["auroc"])} if places else None


def _leakage(leakage: Facts, findings: Facts, least: int) -> dict[str, Any]:
    """Shares of generated images in steps that are `FEWEST` images or more; all or nothing."""
    if not leakage["figures"]:
        return {**leakage, "reason": "not measured"}
    if not _both_kinds(findings, least):
        return {"figures": [], "evidence": {"before": [], "after": []}, "reason": TOO_FEW}
    step = max(0.01, FEWEST / findings["sides"]["generated"]["images"])
    figures = [
        {**row, **{when: row[when] and _ends(row[when], step) for when in ("before", "after")}} for row in leakage["figures"]
    ]
    return {"figures": figures, "evidence": leakage["evidence"], "reason": ""}


# Pairs and images to withhold


def _pairs(pairs: Facts, sides: Facts, least: int) -> dict[str, Any]:
    nothing: dict[str, Any] = {"matched": None, "looked_at": None, "strong": None, "threshold": None, "shown": []}
    images = sides["real"]["images"]
    if images is None:
        return nothing
    others, strong = images - pairs["looked_at"], pairs["strong"]
    shown = shown_cells({"strong": strong, "weak": pairs["looked_at"] - strong, "others": others}, least)
    looked_at = None if shown["others"] is None else pairs["looked_at"]
    return {**nothing, "looked_at": looked_at, "strong": shown["strong"] if looked_at is not None else None}


def _withheld(found: Facts) -> dict[str, Any]:
    """How many, and by which rule: these only where no number of images that fall under one, or under the others, is small."""
    shown = shown_cells({name: found[name] for name in ("withheld", "remain")}, FEWEST)
    counts, withheld = list(found["rules"].values()), found["withheld"]
    told = shown["withheld"] is not None and all(
        enough(count, FEWEST) for count in (*counts, *(withheld - count for count in counts), sum(counts) - withheld)
    )
    return {**shown, "rules": found["rules"] if told else {}, "risk": found["risk"], "images": [], "threshold": None}
