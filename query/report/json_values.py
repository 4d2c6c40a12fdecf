"""Turn summaries into JSON-able values: report.json, and what `audit --json` prints. The only place that does."""

from collections.abc import Mapping, Sequence
from typing import Any

from query.report.audit_summary import AuditSummary
from query.report.run_summary import RunSummary
from query.report.text.copies import copies_sentences
from query.report.text.memorisation import memorisation_sentences
from query.report.text.predictions import answer_lines
from query.report.text.sentences import Answer
from query.report.text.summary import caveats, decision_lines, evaluation_lines
from query.text import plain

_OF_AUDIT = (
    "real",
    "generated",
    "all_pairs_median",
    "all_pairs_median_exact",
)  # figures of a view that report.json does not repeat
_VIEW = ("metric", "dim", "note", "blank", *_OF_AUDIT)


def report_values(run: RunSummary, answer: Sequence[Answer], limits: Sequence[str]) -> dict[str, Any]:
    """What report.json holds."""
    values: dict[str, Any] = {"format": run.format, "public": run.public, "copies": None, **plain(run)}
    values["copies"], values["memorisation"] = _copies(run), _memorisation(run)
    for view in values["views"]:
        for name in _OF_AUDIT:
            del view[name]
    return {**values, "limits": list(limits), "answer": plain(answer)}


def audit_values(audit: AuditSummary, out: str, files: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What `audit --json` prints.

    Args:
        out: folder of the audit.
        files: what was written, by kind.
    """
    run, pairs = audit.run, audit.pairs
    values: dict[str, Any] = plain({
        "run": run.run.number,
        "copies": _copies(run),
        "memorisation": _memorisation(run),
        "quality": run.quality,
        "mirror": run.run.mirror,
        "k": run.run.k,
        "distances": run.run.distances,
        "counts": {role: _counts(audit, role) for role in run.sides},
        "views": {view.view: {name: getattr(view, name) for name in _VIEW} for view in run.views},
        "shared": pairs.shared,
        "closest_pairs": pairs.closest_pairs,
        "most_copied": pairs.most_copied,
        "agreement": pairs.agreement,
        "threshold": pairs.threshold,
        "groups": {"known": audit.groups.known, "note": audit.groups.note} if audit.labelled else None,
        "labels": _labels(run) if audit.labelled else None,
        "matched": audit.matching,
        "decisions": {
            **audit.predictions.as_dict(), "answer": answer_lines(audit.predictions), "note": decision_lines(audit)
        },
        "evaluation": _evaluation(audit),
        "caveats": caveats(audit),
        "out": out,
        "files": files,
    })  # fmt: skip
    return values


def _copies(run: RunSummary) -> dict[str, Any] | None:
    return None if run.copies is None else {"note": copies_sentences(run.copies), **plain(run.copies)}


def _memorisation(run: RunSummary) -> dict[str, Any] | None:
    found = run.memorisation
    return None if found is None else {"note": memorisation_sentences(found), **plain(found)}


def _counts(audit: AuditSummary, role: str) -> dict[str, Any]:
    side = audit.run.sides[role]
    ignored = sum(kind.count for kind in audit.left_out[role])
    aside = {"left_out": plain(audit.left_out[role]), "arrays": plain(audit.arrays[role])}
    return {"images": side.images, "failed": side.failed, "ignored": ignored, "source": side.source, **aside}


def _labels(run: RunSummary) -> dict[str, Any]:
    known = run.known
    counts = {"used": known.used, "not_used": known.not_used, "unlabelled": known.unlabelled}
    return {**counts, "auroc": {view.view: view.auroc for view in run.views}}


def _evaluation(audit: AuditSummary) -> dict[str, Any] | None:
    """Without where the database stood while it was written, and a table as text."""
    if audit.evaluation is None:
        return None
    values = {name: value for name, value in audit.evaluation.as_dict().items() if name not in ("run", "database")}
    return {**values, "note": evaluation_lines(audit)}
