"""Decisions on the set and on patients as text: the first sentences of every result, after those on copies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from query.report.patients import DecidedPatient, PatientsSummary, WholeSummary, unit
from query.report.predictions import PrimarySummary
from query.report.statistics import GIVEN, LIKENESS
from query.report.text.numbers import number, p_text
from query.text import many, name, table

CLEARS_NOBODY = '"No trace found" clears nobody: used images may have left no trace that is seen here.'


@dataclass(frozen=True)
class Headline:
    """A sentence that says one thing, and what belongs to it."""

    note: str
    more: str = ""

    @property
    def lines(self) -> list[str]:
        """Both, a line each."""
        return [self.note, self.more] if self.more else [self.note]


def headlines(primary: PrimarySummary | None) -> list[Headline]:
    """The answer in short: the set, then patients, then who the patients are; nothing without a primary method."""
    if primary is None:
        return []
    return [*set_headline(primary), called_headline(primary), *map(Headline, unknown_patients(primary))]


def unknown_patients(primary: PrimarySummary) -> list[str]:
    """A warning where nobody said which images are of one patient."""
    found = primary.patients
    if found is None or found.groups_from == GIVEN:
        return []
    group = "one image, or several near-duplicates" if found.groups_from == LIKENESS else "one image"
    return [f"Patients are unknown; a group is {group}. If patients have several groups, these p-values are too small."]


def set_headline(primary: PrimarySummary) -> list[Headline]:
    """What all unlabelled patients together show; nothing where all are labelled, or nothing is known of anybody."""
    whole = primary.whole
    if whole is None:
        tested = primary.unlabelled and primary.reference != 0
        needs = "a primary method that looks at no label, such as fusion, and two patients or more on either side"
        return [Headline("The set as a whole was not tested.", f"That takes {needs}.")] if tested else []
    if whole.p is None:
        return [Headline("What the set as a whole shows is not shown: too few patients for that.")]
    who, p = unit(whole.groups_from), f"p = {p_text(whole.p)}"
    if whole.significant:
        reference = "" if whole.reference is None else f", against {many(whole.reference, f'reference {who}')}"
        share = f"That is {whole.share_low:.0%} of them; " if whole.share_low and whole.used_low is not None else ""
        return [Headline(f"With 95% confidence {_at_least(whole, who)} used to train the generator.", f"{share}{p}{reference}.")]
    counts = "" if whole.reference is None else f", {many(whole.patients, who)} against {whole.reference:,} in the reference"
    return [Headline("The set as a whole shows no trace of use; this does not show that none was used.", f"{p}{counts}.")]


def _at_least(whole: WholeSummary, who: str) -> str:
    """``at least 64 of 191 unlabelled patients were``; a share alone, or ``some``, where no more is shown."""
    if not whole.share_low:
        return f"some of the unlabelled {who}s were"
    if whole.used_low is None:
        return f"at least {whole.share_low:.0%} of the unlabelled {who}s were"
    were = "was" if whole.used_low == 1 else "were"
    return f"at least {whole.used_low:,} of {many(whole.patients, f'unlabelled {who}')} {were}"


def called_headline(primary: PrimarySummary) -> Headline:
    """How many patients are called used, and how many of them falsely."""
    found = primary.patients
    nobody = "Nobody can be called used."
    if primary.reference == 0:
        return Headline(nobody, f"Without images that are known not to be used, {primary.method} has no p-value.")
    if found is None:
        return Headline(nobody, f"Method {primary.method} has no p-value of a patient here.")
    who, used = unit(found.groups_from), found.answers["used"]
    which = f"{'unlabelled' if primary.unlabelled else 'labelled'} {who}"
    each = "" if primary.unlabelled else " Each was tested without its own label."
    if used is None:
        tested = f"the {which}s" if found.tested is None else many(found.tested, which)
        return Headline(f"How many of {tested} are called used is not shown: too few for that.")
    rate = f"false discovery rate of {primary.fdr or 0:.0%}"
    if not used:
        return Headline(f"None of {many(found.tested, which)} is called used.", f"Tested at a {rate}.{each} {CLEARS_NOBODY}")
    false = used * (primary.fdr or 0)
    some = "fewer than one" if false < 1 else f"at most about {false:.0f}"
    note = f"{used:,} of {many(found.tested, which)} {'is' if used == 1 else 'are'} called used."
    return Headline(note, f"On average {some} of them falsely, at a {rate}.{each} {CLEARS_NOBODY}")


def power_sentences(primary: PrimarySummary) -> list[str]:
    """What so few reference patients can show; nothing without them."""
    found = primary.patients
    if found is None or found.reference is None or found.least is None:
        return []
    who = unit(found.groups_from)
    images = f"{many(primary.reference, 'image')} known not to be used"
    lines = [
        f"Reference: {many(found.reference, who)} ({images}). The smallest p-value that so many can give is "
        f"{number(found.smallest_p, '.3g')}. Called used: q-value up to {number(primary.fdr, 'g')}."
    ]
    tested = many(found.tested, who)
    if found.least > (found.tested or 0):
        lines.append(f"WARNING: with so few, none of {tested} can ever be called used; add reference images of other patients.")
    elif found.least > 1:
        lines.append(f"With so few, nobody can be called used unless {found.least:,} of {tested} reach that p-value together.")
    return lines


def counts_sentence(found: PatientsSummary, unlabelled: bool) -> str:
    """How many patients by each decision."""
    which = many(found.tested, f"{'unlabelled' if unlabelled else 'labelled'} {unit(found.groups_from)}")
    counts = ", ".join(f"{number(count, ',')} {answer}" for answer, count in found.answers.items())
    return f"Of {which}: {counts}."


def called_table(called: Sequence[DecidedPatient], who: str, shown: int) -> Iterator[str]:
    """The patients called used, the smallest p first, at most so many."""
    if called:
        rows = [
            [name(each.patient), each.images, number(each.p, ".3g"), number(each.q, ".3g"), name(each.image)] for each in called
        ]
        yield from table([f"{who} called used", "images", "p", "q", "nearest image"], rows[:shown]).splitlines()
        if len(called) > shown:
            yield f"and {len(called) - shown:,} more, in table patient_decisions"
