"""Output of `attribute`: how many generated images came from each subset, how good that is, and what the controls say."""

from collections import Counter
from collections.abc import Iterator

from query.comparison.subsets import UNDECIDED, SubsetVotes
from query.evaluation.classes import ClassEvaluation, ClassMeasure
from query.report.text.lines import wrapped
from query.report.text.numbers import interval, p_text, percent_interval
from query.text import many, table

SHOWN = 10  # subsets in a table of counts


def subsets_text(votes: SubsetVotes, groups_note: str) -> str:
    """The answer first: counts, accuracy, controls, what the figures do not say."""
    parts = [_answer(votes), _counts(votes)]
    parts += [_accuracy(votes.evaluation)] if votes.evaluation else []
    return "\n\n".join([*parts, wrapped([*_controls(votes), *_limits(votes), groups_note]).rstrip("\n")])


def _answer(votes: SubsetVotes) -> str:
    answers, least = Counter(votes.answers), f"{votes.settings.least:.0%}"
    images, named = many(len(votes.generated), "generated image"), len(votes.generated) - answers[UNDECIDED]
    said = "probability" if votes.calibrated else "uncalibrated share"
    counts = [f"{subset}: {answers[subset]:,}" for subset in votes.subsets[:SHOWN] if answers[subset]]
    more = ", ..." if len(votes.subsets) > SHOWN else ""
    said = f"{said} of {least} or more), {answers[UNDECIDED]:,} are undecided."
    sentence = f"Of {images} {named:,} are said to come from one subset ({said}"
    return wrapped([f"{sentence} {', '.join(counts)}{more}".rstrip()]).rstrip("\n")


def _counts(votes: SubsetVotes) -> str:
    """A row for each subset: what it is made of, and what is said of generated images."""
    real = Counter(votes.members.subset.tolist())
    answers, nearest = Counter(votes.answers), Counter(votes.vote.tolist())
    mean = votes.probability.mean(axis=0)
    rows = [
        [subset, real[number], patients, answers[subset], nearest[number], f"{mean[number]:.3f}"]
        for number, (subset, patients) in enumerate(zip(votes.subsets, votes.members.patients.tolist(), strict=True))
    ]
    head = ["subset", "real images", "groups", "named", "most probable", "mean probability" if votes.calibrated else "mean share"]
    return table(head, rows)


def _accuracy(found: ClassEvaluation) -> str:
    """Measures and the confusion table of the labelled images."""
    kappa, accuracy, balanced, loss = (found.measures[measure] for measure in ClassMeasure)
    images, classes = int(found.confusion.sum()), len(found.classes)
    rows = [
        ["Cohen's kappa", interval(kappa), "0 by chance"],
        ["accuracy", interval(accuracy), f"{found.largest:.2f} for always the largest subset"],
        ["balanced accuracy", interval(balanced), f"{1 / classes:.2f} by chance"],
        ["log loss", interval(loss), f"{found.uniform:.2f} for equal probabilities"],
    ]
    note = f"{many(images, 'labelled generated image')}, each judged without its own group [95% by groups]"
    confusion = [[true, *row] for true, row in zip(found.classes, found.confusion.tolist(), strict=True)]
    lines = [note, table(["measure", "value", "beside"], rows), "", "labelled (rows), most probable (columns)"]
    bins = [
        [f"{each.low:.1f}-{each.high:.1f}", each.images, f"{each.mean:.2f}", percent_interval(each.used)]
        for each in found.reliability
    ]
    lines += [table(["", *found.classes], confusion), "", table(["probability", "images", "mean", "right"], bins)]
    return "\n".join(lines)


def _controls(votes: SubsetVotes) -> Iterator[str]:
    controls = votes.controls
    look = controls.look
    if look:
        figures = (
            f"balanced accuracy {look.right:.2f}, {look.by_chance:.2f} for patients dealt at random, p = {p_text(look.p_value)}"
        )
        start = "WARNING: subsets differ in look: real images are" if look.tells else "Real images are not"
        yield f"{start} told by other patients' images ({figures}, {many(look.images, 'image')})."
    if look and look.tells:
        yield "  The look of a subset, not copies, may decide here: a generator that copied nobody would be told as well."
    without = controls.without_best
    right = f"; right are {percent_interval(without.measures[ClassMeasure.ACCURACY])} then" if without else ""
    yield f"Without the patient of the best real image {controls.same:.0%} of the images keep their most probable subset{right}."


def _limits(votes: SubsetVotes) -> Iterator[str]:
    if not votes.calibrated:
        few = "labels are too few to calibrate" if votes.known else "no labels calibrate them"
        yield f"Shares are not calibrated ({few}): one of 80% need not be right in 80 of 100 images."
    yield "A probability holds if the image came from one of these subsets; undecided may mean: from none of them."
