"""The public report: removes names, paths, pixels, and figures of too few images.

What is shown is listed here; all else is left out. A figure of real images is based on images of at least `cells.FEWEST` persons,
where persons are known. None means: not shown.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, floor, isfinite, nan
from typing import Any

from query.comparison.memorisation import Share
from query.comparison.orientation import OrientationCheck
from query.database.evaluation import BESIDE
from query.evaluation.resampling import Estimate, Measured
from query.inputs.contamination import warned
from query.inputs.patients import PatientCounts
from query.leakage.attacks import Attack, Attacks, Rate
from query.membership.reference_verdict import ReferenceVerdict
from query.report.cells import FEWEST, coarse_curve, enough, shown_cells
from query.report.copies import CopiesSummary, CopyCount
from query.report.distributions import Nearest, ViewSummary
from query.report.memorisation import MemorisationSummary
from query.report.pairs import FIXED_RULE, UNKNOWN_RULE, PairsSummary
from query.report.patients import PatientsSummary, WholeSummary
from query.report.predictions import (
    BY_PATIENT,
    Decisions,
    EvaluationSummary,
    MethodFigures,
    MethodSummary,
    PrimarySummary,
    RocCurve,
)
from query.report.quality import SHARES, BesideReal, QualitySummary
from query.report.run_summary import Known, RunSummary, Side
from query.report.withholding import LeakageSummary, LeakageTest, WithheldSummary

TOO_FEW = f"not shown: it would stand on fewer than {FEWEST} images or persons"
_GROUPS = {
    "given": "Groups (patients) are as given.",
    "near-duplicates": "Patients are unknown: near-duplicates were grouped.",
    "nobody": "Patients are unknown: every image counts as a group by itself, so intervals may be too narrow.",
}
_BY_ANSWERS = ("f1", "recall", "specificity", "tp", "fp", "tn", "fn")  # what counts of forced answers can be computed from
_RATE = 0.05  # of images not used, at which `tpr_at_0.05` is taken


OTHER_KIND = "WARNING: the reference is of another kind than the unlabelled images; see the confidential report."
UNCHECKED = "WARNING: too few patients to check whether the reference is of the same kind as the unlabelled images."
TURNED = "WARNING: one side is turned or flipped against the other, so copies are not found."
SHARED = "WARNING: patients stand on both sides, or under both labels; see the confidential report."
ALIKE = "WARNING: the reference holds near-duplicates of unlabelled or used images; p-values are less certain."


def publicly(summary: RunSummary, least: int) -> RunSummary:
    """The part that may be shown to anybody.

    Args:
        summary: of `query.report.run_summary.summarise`, histograms coarse.
        least: real images that a figure must stand on, see `query.report.cells.enough_images`.
    """
    sides = {role: _side(side, FEWEST if role == "generated" else least, role) for role, side in summary.sides.items()}
    known = _known(summary.known, sides["real"], least)
    decided, evaluation = summary.decisions, summary.evaluation
    return RunSummary(
        run=replace(summary.run, command=None),
        copies=summary.copies and _copies(summary.copies, summary, sides["real"], least),
        memorisation=summary.memorisation and _memorisation(summary.memorisation, summary),
        sides=sides,
        known=known,
        settings={key: _numbers(summary.settings.get(key)) for key in ("decoding", "sample", "weights")},
        versions=summary.versions,
        warnings=warnings_of(summary.settings),
        views=[_view(view, least) for view in summary.views],
        decisions=decided and _decisions(decided, summary, known, least),
        evaluation=evaluation and _evaluation(evaluation, summary, known, least),
        leakage=_leakage(summary, least),
        pairs=_pairs(summary.pairs, sides["real"], least),
        withheld=_withheld(summary.withheld),
        failures=[],
        blank=[],
        public=True,
        fewest=FEWEST,
        attacks=summary.attacks and _attacks(summary, least),
        quality=summary.quality and _quality(summary.quality, summary, least),
    )


def warnings_of(settings: Mapping[str, Any]) -> list[str]:
    """Without numbers."""
    turned, shared = OrientationCheck.of_settings(settings).turned, PatientCounts.of_settings(settings).warnings
    reference = ReferenceVerdict.of_settings(settings)
    told = ((OTHER_KIND, reference and reference.different), (UNCHECKED, reference and reference.too_few))
    return [text for text, true in (*told, (TURNED, turned), (SHARED, shared), (ALIKE, warned(settings))) if true]


def _numbers(values: Any) -> dict[str, Any]:
    """Numbers alone: a text might name something."""
    pairs = values.items() if isinstance(values, dict) else ()
    return {key: value for key, value in pairs if value is None or isinstance(value, int | float)}


# Copies


def _copies(copies: CopiesSummary, summary: RunSummary, real: Side, least: int) -> CopiesSummary:
    """How many generated images, and of how many real ones where that is enough; no pairs, and no similarity of any."""
    exact, near = _count(copies.exact.generated), _count(copies.near.generated)
    others = _count(summary.sides["generated"].images) - exact - near
    shown = shown_cells({"exact": exact, "near": near, "others": others}, FEWEST)

    def counted(kind: str, count: CopyCount) -> CopyCount:
        copied = _count(count.real)
        told = real.images is not None and enough(copied, least) and enough(real.images - copied, least)
        return CopyCount(shown[kind], copied if told else None, None)

    told = replace(copies, exact=counted("exact", copies.exact), near=counted("near", copies.near))
    return replace(told, threshold=None, largest=None, failed=None, pairs=[])


def _memorisation(found: MemorisationSummary, summary: RunSummary) -> MemorisationSummary:
    """Shares of generated images in steps of `FEWEST` images or more, where neither they nor the others are few; no controls."""
    generated = _count(summary.sides["generated"].images)
    step = max(0.01, FEWEST / generated)

    def told(count: int) -> bool:
        return enough(count, FEWEST) and enough(generated - count, FEWEST)

    def coarse(share: Share) -> Share:
        high = None if share.high is None else _rounded(share.high, step)
        return replace(share, images=None, value=_rounded(share.value, step), low=_rounded(share.low, step), high=high)

    shares = {figure: coarse(share) for figure, share in found.shares.items() if told(_count(share.images))}
    matched, called = (None if count is None or not told(count) else count for count in (found.matched, found.called))
    return replace(found, matched=matched, called=called, patients=None, fewest=None, shares=shares)


def _quality(found: QualitySummary, summary: RunSummary, least: int) -> QualitySummary | None:
    """Figures of enough images of either side, to two digits, shares in steps of `FEWEST` images or more; no reasons.

    How many images repeat another one tells of generated images alone; it is shown where neither they nor the others are few.
    """
    real, generated = (_count(count) for count in (found.real, found.generated))
    if min(real, generated) < least:
        return None
    others = [_count(summary.sides[role].images) - count for role, count in (("real", real), ("generated", generated))]
    told = enough(found.repeated, FEWEST) and enough(generated - _count(found.repeated), FEWEST)
    fidelity = [_beside_real(each) for each in found.fidelity if each.images >= least]
    reason = "see the confidential report" if found.reason else TOO_FEW
    return replace(
        found,
        real=real if enough(others[0], least) else None,
        generated=generated if enough(others[1], FEWEST) else None,
        fidelity=fidelity,
        diversity=[_beside_real(each) for each in found.diversity if each.images >= least],
        reason="" if fidelity else reason,
        repeated=found.repeated if told else None,
        groups=None,
    )


def _beside_real(each: BesideReal) -> BesideReal:
    step = max(0.01, FEWEST / each.images) if each.figure in SHARES else None
    generated, real = (_stepped(of, step) if step else _coarse(of) for of in (each.generated, each.real))
    return replace(each, generated=generated, real=real)


def _stepped(found: Estimate, step: float) -> Estimate:
    """A share in steps, the ends away from the value."""
    if not found.has_interval:
        return Estimate(_rounded(found.value, step), nan, nan)
    rate = _outward(Rate(*found.ends), step)
    return Estimate(min(rate.value, 1.0), rate.low, rate.high)


def _coarse(found: Estimate) -> Estimate:
    """To two digits."""
    value, low, high = (float(f"{each:.2g}") if isfinite(each) else nan for each in found.ends)
    return Estimate(value, low, high)


# What was compared


def _side(side: Side, least: int, role: str) -> Side:
    images, blank = _count(side.images), _count(side.blank)
    seen = shown_cells({"blank": blank, "seen": images - blank}, least)
    shown = images if role == "generated" or enough(images, least) else None
    return Side(shown, side.failed if enough(side.failed, least) else None, seen["blank"], None)


def _count(count: int | None) -> int:
    """A count of a run as it is, before anything of it is hidden."""
    assert count is not None
    return count


def _known(known: Known, real: Side, least: int) -> Known:
    shown = shown_cells({name: _count(getattr(known, name)) for name in ("used", "not_used", "unlabelled")}, least)
    groups = _count(known.groups)
    told = real.images is not None and enough(groups, FEWEST) and enough(real.images - groups, FEWEST)
    return Known(**shown, groups=groups if told else None, groups_from=known.groups_from)


def _both_kinds(summary: RunSummary, least: int) -> bool:
    """Whether there are enough images of either kind for figures that compare them."""
    return min(_count(summary.known.used), _count(summary.known.not_used)) >= least


# Distances


def _view(view: ViewSummary, least: int) -> ViewSummary:
    """Without note, fingerprint (which hashes what was learned from images), marks and smallest distances."""
    number = {row.images: _count(row.number) for row in view.nearest}
    told = all(number.get(kind, 0) >= least for kind in ("used", "not used"))
    nearest = [row for row in view.nearest if row.images != "generated" and number[row.images] >= 2 * least]
    return ViewSummary(
        view=view.view,
        metric=view.metric,
        dim=view.dim,
        unit=view.unit,
        note="",
        fingerprint=None,
        blank=None,
        pairs=None,
        nearest=[Nearest(row.images, float(f"{row.middle_half:.2g}")) for row in nearest],
        histogram=view.histogram,
        reference=None,
        auroc=_ends(view.auroc) if told and view.auroc else None,
    )


def _ends(found: Estimate, step: float = 0.01) -> Estimate:
    """A value with its interval alone, in steps of 0.01: finer ones tell the rank of an image."""
    value, low, high = (_rounded(each, step) for each in found.ends)
    return Estimate(value, low, high)


def _rounded(value: float, step: float = 0.01) -> float:
    return round(round(value / step) * step, 4) + 0.0 if isfinite(value) else nan


# Decisions


def _decisions(decided: Decisions, summary: RunSummary, known: Known, least: int) -> Decisions:
    methods = [_method(method, summary, known, least) for method in decided.methods]
    return Decisions(methods, decided.primary and _primary(decided.primary, summary, known, least))


def _method(method: MethodSummary, summary: RunSummary, known: Known, least: int) -> MethodSummary:
    said = {name: _count(getattr(method, name)) for name in ("says_used", "says_not")}
    total = _count(method.images)
    images = _told(total, summary, known, least)
    shown = shown_cells({**said, "": total - sum(said.values())}, least)
    used, unused = (None if images is None else shown[name] for name in said)
    told = replace(method, images=images, says_used=used, says_not=unused)
    return replace(told, note="", facts={}, smallest_p=None, threshold=None)


def _primary(primary: PrimarySummary, summary: RunSummary, known: Known, least: int) -> PrimarySummary:
    """Answers on patients, or where these may not be shown, on images: both together tell how many images patients have."""
    images = _told(_count(primary.images), summary, known, least)
    told = known.groups is not None and _persons_told(primary, summary)
    answers = shown_cells({answer: _count(count) for answer, count in primary.answers.items()}, least)
    return replace(
        primary,
        images=images,
        answers=answers if images is not None and not told else dict.fromkeys(answers),
        reference=known.not_used if primary.reference else 0,
        whole=primary.whole and _whole(primary.whole, told),
        patients=primary.patients and _patients(primary.patients, told),
        predicted_used=[],
        histogram={},
    )


def _persons_told(primary: PrimarySummary, summary: RunSummary) -> bool:
    """Whether patients may be counted: those tested, those of the reference, all others, and their further images."""
    if primary.patients is None:
        return False
    facts, tested, reference = summary.known, _count(primary.patients.tested), _count(primary.patients.reference)
    if primary.whole and primary.whole.patients != tested:
        return False
    images, unused = _count(facts.unlabelled if primary.unlabelled else primary.images), _count(facts.not_used)
    others = abs(_count(facts.groups) - tested - reference) if primary.unlabelled else _count(facts.groups) - reference
    return all(enough(count, FEWEST) for count in (tested, reference, others, abs(images - tested), abs(unused - reference)))


def _whole(whole: WholeSummary, told: bool) -> WholeSummary:
    """p to one digit, and the share in steps of `FEWEST` patients: rounded down, it is still a lower bound."""
    patients, reference = _count(whole.patients), _count(whole.reference)
    if whole.p is None or min(patients, reference) < FEWEST:
        return WholeSummary(None, None, None, None, None, None, whole.groups_from)
    step = max(0.01, FEWEST / patients)
    share = floor(round((whole.share_low or 0) / step, 6)) * step
    told_of = whole if told else replace(whole, patients=None, reference=None)
    return replace(told_of, p=float(f"{whole.p:.1g}"), share_low=round(share, 4) or None, used_low=None)


def _patients(patients: PatientsSummary, told: bool) -> PatientsSummary:
    """How many by each answer; nobody's name."""
    answers = shown_cells({answer: _count(count) for answer, count in patients.answers.items()}, FEWEST)
    if told:
        return replace(patients, answers=answers, called=[])
    return PatientsSummary(None, dict.fromkeys(answers), None, None, None, [], patients.groups_from)


def _told(images: int, summary: RunSummary, known: Known, least: int) -> int | None:
    """How many images a method tells of, if no number of labels can be computed from that."""
    facts, total = summary.known, _count(summary.sides["real"].images)
    if images != total and None in (known.used, known.not_used, known.unlabelled, known.groups):
        return None
    others = (total, _count(facts.unlabelled), _count(facts.used) + _count(facts.not_used))
    told = enough(images, least) and all(enough(abs(other - images), least) for other in others if other)
    return images if told else None


# Figures of labelled images


def _evaluation(evaluation: EvaluationSummary, summary: RunSummary, known: Known, least: int) -> EvaluationSummary:
    if not _both_kinds(summary, least):
        return EvaluationSummary("", [], [], None, TOO_FEW)
    methods = [_figures(figures, known, least) for figures in evaluation.methods]
    curves = [curve for curve in (_curve(each, least) for each in evaluation.roc) if curve]
    return EvaluationSummary(_GROUPS[known.groups_from], methods, curves, None, "")


def _figures(figures: MethodFigures, known: Known, least: int) -> MethodFigures:
    """Metrics of a method; those that counts of its answers can be computed from only where no count is small."""
    metrics = figures.metrics
    hidden = set(() if _answers_shown(metrics, known, least) else _BY_ANSWERS)
    hidden |= set(BY_PATIENT if _rate_shown(metrics, known, least) else ("tpr_at_0.05", *BY_PATIENT))
    return MethodFigures(figures.method, {name: _figure(name, figure, name in hidden) for name, figure in metrics.items()})


def _figure(name: str, figure: Measured, hidden: bool) -> Measured:
    beside: dict[str, Any] = {key: nan if hidden else getattr(figure, key) for key in BESIDE}
    if hidden:
        return Measured(nan, nan, nan, **beside)
    if name in ("tp", "fp", "tn", "fn"):
        return figure
    rounded = {key: _rounded(value) for key, value in beside.items()}
    return Measured.beside(_ends(figure), **{**rounded, "p_value": float(f"{figure.p_value:.1g}")})


def _answers_shown(metrics: Mapping[str, Measured], known: Known, least: int) -> bool:
    """Whether the four counts, and how many images a method gave no answer to, are all none or enough."""
    for kind, cells in ((known.used, ("tp", "fn")), (known.not_used, ("tn", "fp"))):
        counts = [metrics[cell].value for cell in cells]
        if kind is None or not all(map(isfinite, counts)):
            return False
        if not all(enough(count, least) for count in (*counts, kind - sum(counts))):
            return False
    return True


def _rate_shown(metrics: Mapping[str, Measured], known: Known, least: int) -> bool:
    """Whether the share found at 5% stands on enough images of either kind."""
    value = metrics["tpr_at_0.05"].value
    if not isfinite(value) or known.used is None or known.not_used is None:
        return False
    found = round(value * known.used)
    return _RATE * known.not_used >= least and enough(found, least) and enough(known.used - found, least)


def _curve(curve: RocCurve, least: int) -> RocCurve | None:
    """A ROC with points so far apart that enough images lie between two."""
    assert curve.images is not None
    used, unused = (curve.images[kind] for kind in ("used", "not_used"))
    counts = [round(share * unused) for share in curve.false], [round(share * used) for share in curve.true]
    places = coarse_curve(*counts, least)
    false, true = ([_rounded(shares[place]) for place in places] for shares in (curve.false, curve.true))
    return RocCurve(curve.method, None, false, true, _ends(curve.auroc)) if places else None


def _leakage(summary: RunSummary, least: int) -> LeakageSummary:
    """Shares of generated images in steps that are `FEWEST` images or more; all or nothing."""
    leakage = summary.leakage
    if not leakage.figures:
        return replace(leakage, reason="not measured")
    if not _both_kinds(summary, least):
        return LeakageSummary([], {"before": LeakageTest(), "after": LeakageTest()}, TOO_FEW)
    step = max(0.01, FEWEST / _count(summary.sides["generated"].images))
    figures = [
        replace(row, before=row.before and _ends(row.before, step), after=row.after and _ends(row.after, step))
        for row in leakage.figures
    ]
    return LeakageSummary(figures, {when: _leakage_test(test) for when, test in leakage.tests.items()}, "")


def _attacks(summary: RunSummary, least: int) -> Attacks | None:
    """Rates in steps of `FEWEST` patients or more, of patients counted in such steps; those that stand on fewer are left out."""
    found = summary.attacks
    if found is None or not _both_kinds(summary, least):
        return None
    missing = dict(found.missing) | {kind: TOO_FEW for kind, attack in found.made.items() if attack.patients < FEWEST}
    made = {kind: _attack(attack) for kind, attack in found.made.items() if attack.patients >= FEWEST}
    return Attacks(made, missing)


def _attack(attack: Attack) -> Attack:
    """In steps; a risk whose interval leaves 0 out still does."""
    step = max(0.01, FEWEST / attack.patients)
    rates = {name: _outward(getattr(attack, name), step) for name in ("main", "control", "baseline", "risk")}
    if attack.risk.low > 0:
        rates["risk"] = Rate(max(rates["risk"].value, 0.01), max(rates["risk"].low, 0.01), rates["risk"].high)
    return Attack(attack.patients // FEWEST * FEWEST, **rates)


def _outward(rate: Rate, step: float) -> Rate:
    """In steps, the ends away from the value."""
    low, high = floor(round(rate.low / step, 6)) * step, ceil(round(rate.high / step, 6)) * step
    return Rate(_rounded(rate.value, step), round(low, 4), round(min(high, 1.0), 4))


def _leakage_test(test: LeakageTest) -> LeakageTest:
    """In steps: a p-value of 0.01 stands for all below it."""
    if test.p_value is None or test.share_low is None:
        return test
    return replace(test, p_value=max(_rounded(test.p_value), 0.01), share_low=floor(test.share_low * 10) / 10)


# Pairs and images to withhold


def _pairs(pairs: PairsSummary, real: Side, least: int) -> PairsSummary:
    rule = pairs.rule if pairs.rule in (FIXED_RULE, UNKNOWN_RULE) else "calibrated on real images"
    nothing = PairsSummary([], None, rule)
    if real.images is None:
        return nothing
    looked_at, strong = _count(pairs.looked_at), _count(pairs.strong)
    shown = shown_cells({"strong": strong, "weak": looked_at - strong, "others": real.images - looked_at}, least)
    return nothing if shown["others"] is None else replace(nothing, looked_at=looked_at, strong=shown["strong"])


def _withheld(found: WithheldSummary) -> WithheldSummary:
    """How many, and by which rule: these only where no number of images that fall under one, or under the others, is small."""
    withheld = _count(found.withheld)
    shown = shown_cells({"withheld": withheld, "remain": _count(found.remain)}, FEWEST)
    counts = list(found.rules.values())
    beyond = found.beyond_filter or 0
    told = shown["withheld"] is not None and all(
        enough(count, FEWEST) for count in (*counts, *(withheld - count for count in counts), sum(counts) - withheld, beyond)
    )
    if not told:
        found = replace(found, rules={}, beyond_filter=None)
    return replace(found, withheld=shown["withheld"], remain=shown["remain"], images=[], threshold=None, beyond_rules={})
