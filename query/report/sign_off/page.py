"""What the one-page summary says of a run, in the phrases of a language; the same for HTML and Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from query.comparison.combined import COMBINED
from query.leakage.attacks import Attack, AttackKind, Rate
from query.report import public
from query.report.run_summary import RunSummary
from query.report.sign_off.phrases import Phrases
from query.report.statistics import GIVEN, LIKENESS

RATES = ("main", "control", "baseline", "risk")
_WARNINGS = {  # as the public report words them -> phrase
    public.OTHER_KIND: "other_kind",
    public.UNCHECKED: "unchecked",
    public.TURNED: "turned",
    public.SHARED: "shared",
    public.ALIKE: "alike",
}


@dataclass(frozen=True)
class Risk:
    """A risk of WP29's Opinion 05/2014: name, question, success of main, control and baseline attack and risk, conclusion."""

    name: str
    note: str
    rates: Sequence[str]
    conclusion: str


@dataclass(frozen=True)
class Page:
    """The summary.

    Attributes:
        examined, found: label -> value.
        risks: of the three risks.
    """

    subtitle: str
    notice: str
    examined: Sequence[tuple[str, str]]
    risks: Sequence[Risk]
    found: Sequence[tuple[str, str]]
    withheld: Sequence[str]
    limits: Sequence[str]
    warnings: Sequence[str]


def page_of(found: RunSummary, fingerprint: str, say: Phrases) -> Page:
    """The page.

    Args:
        found: of the run, perhaps its public form.
        fingerprint: SHA-256 of the generated set.
        say: phrases.
    """
    run, notice = found.run, say("page.names_nobody")
    return Page(
        subtitle=say("page.subtitle", run=run.number, date=run.created.removesuffix(" UTC"), version=_version(found)),
        notice=say("page.names_nobody_public", fewest=found.fewest) if found.public else notice,
        examined=list(_examined(found, fingerprint, say)),
        risks=list(_risks(found, say)),
        found=list(_found(found, say)),
        withheld=list(_withheld(found, say)),
        limits=[say(f"limits.{each}") for each in ("first", "second", "third", "fourth")],
        warnings=[say(f"warnings.{_WARNINGS[line]}") for line in _warnings(found)],
    )


def _version(found: RunSummary) -> str:
    return str(found.versions.get("synthtrace", "?"))


def _warnings(found: RunSummary) -> Sequence[str]:
    return found.warnings if found.public else public.warnings_of(found.settings)


def _examined(found: RunSummary, fingerprint: str, say: Phrases) -> Iterator[tuple[str, str]]:
    known, generated, real = found.known, found.sides["generated"].images, found.sides["real"].images
    yield say("examined.generated"), say("examined.generated_value", count=generated, fingerprint=fingerprint)
    counts = {"used": known.used, "unused": known.not_used, "unlabelled": known.unlabelled}
    said = say("examined.real_training", count=real) if found.by_hold_out else say("examined.real_value", count=real, **counts)
    yield say("examined.real"), said
    kind = {GIVEN: "given", LIKENESS: "alike"}.get(known.groups_from)
    patients = say(f"examined.patients_{kind}", count=known.groups) if kind else say("examined.patients_unknown")
    yield say("examined.patients"), patients
    views = ", ".join(view.view for view in found.views if view.view != COMBINED)
    seed = (found.settings.get("sample") or {}).get("seed", "?")
    together = next((view.fingerprint for view in found.views if view.view == COMBINED), None)
    method = {"views": views, "seed": seed}
    value = say("examined.method_fingerprint", **method, fingerprint=together[:16]) if together else None
    yield say("examined.method"), value or say("examined.method_value", **method)


# The three risks


def _risks(found: RunSummary, say: Phrases) -> Iterator[Risk]:
    for kind in AttackKind:
        attack = found.attacks.made.get(kind) if found.attacks else None
        name, note = say(f"found.{kind}"), say(f"found.{kind}_note")
        if attack:
            conclusion = "found.evidence" if attack.risk.low > 0 else "found.no_evidence"
            yield Risk(name, note, _rates(attack, say), say(conclusion, patients=attack.patients))
        else:
            yield Risk(name, note, [], _missing(found, kind, say))
    yield Risk(say("found.inference"), say("found.inference_note"), [], say("found.inference_missing"))


def _rates(attack: Attack, say: Phrases) -> list[str]:
    rates: list[Rate] = [getattr(attack, name) for name in RATES]
    return [say.interval(rate.value, rate.low, rate.high) for rate in rates]


def _missing(found: RunSummary, kind: AttackKind, say: Phrases) -> str:
    """Why an attack is not told of."""
    reason = found.attacks.missing.get(kind) if found.attacks else None
    if reason and reason != public.TOO_FEW:
        images = "two_images" if kind is AttackKind.LINKABILITY else "patients"
        return say("found.not_measured", reason=say(f"found.reason_{images}"))
    if reason or (found.public and (found.by_hold_out or None in (found.known.used, found.known.not_used))):
        return say("found.hidden")
    return say("found.not_measured", reason=say("found.reason_unmade" if _both_kinds(found) else "found.reason_kinds"))


def _both_kinds(found: RunSummary) -> bool:
    return bool(found.known.used and found.known.not_used)


# Other findings


def _found(found: RunSummary, say: Phrases) -> Iterator[tuple[str, str]]:
    yield say("found.copies"), _copies(found, say)
    yield say("found.membership"), _membership(found, say)
    yield say("found.leakage"), _leakage(found, say)


def _copies(found: RunSummary, say: Phrases) -> str:
    copies = found.copies
    if copies is None:
        return say("found.copies_unsearched")
    exact, near = copies.exact.generated, copies.near.generated
    if exact == near == 0:
        return say("found.copies_none")
    return say("found.copies_value", exact=exact, near=near, generated=found.sides["generated"].images)


def _membership(found: RunSummary, say: Phrases) -> str:
    primary = found.decisions.primary if found.decisions else None
    whole, patients = (primary.whole, primary.patients) if primary else (None, None)
    parts = []
    if whole and whole.p is not None:
        facts = {"patients": whole.patients, "p": whole.p}
        share = f"{whole.share_low or 0:.0%}"
        used = say("found.membership_used", **facts, share=share)
        parts.append(used if whole.significant else say("found.membership_open", **facts))
    if primary and primary.unlabelled and patients:
        called = say(
            "found.membership_called", called=patients.answers["used"], tested=patients.tested, fdr=f"{primary.fdr or 0:.0%}"
        )
        parts.append(called)
    return " ".join(parts) or say("found.membership_missing")


def _leakage(found: RunSummary, say: Phrases) -> str:
    test = found.leakage.tests["before"]
    if found.leakage.reason == public.TOO_FEW:
        return say("found.hidden")
    if test.p_value is None:
        why = say("found.reason_patients") if _both_kinds(found) else say("found.reason_kinds")
        return say("found.leakage_missing", reason=why)
    return say("found.leakage_evidence" if test.evidence else "found.leakage_open", p=test.p_value)


def _withheld(found: RunSummary, say: Phrases) -> Iterator[str]:
    withheld, generated = found.withheld.withheld, found.sides["generated"].images
    yield (
        say("withheld.nothing", generated=generated)
        if withheld == 0
        else say("withheld.some", count=withheld, generated=generated)
    )
    if found.withheld.rules:
        yield "; ".join(_rule(found, rule, count, say) for rule, count in found.withheld.rules.items()) + "."
    if found.withheld.beyond_filter:
        yield say("withheld.beyond_filter", count=found.withheld.beyond_filter)
    after = found.leakage.tests["after"]
    if after.p_value is None:
        hidden = found.leakage.reason == public.TOO_FEW
        yield say("withheld.remaining_hidden" if hidden else "withheld.remaining_missing")
    else:
        yield say("withheld.remaining_evidence" if after.evidence else "withheld.remaining_open")


def _rule(found: RunSummary, rule: str, count: int, say: Phrases) -> str:
    """How many images a rule withholds; that of matching sees but the pairs that were compared."""
    compared = {"compared": found.pairs.looked_at, "real": found.sides["real"].images} if rule == "match" else {}
    return say(f"withheld.{rule.replace(' ', '_')}", count=count, **compared)
