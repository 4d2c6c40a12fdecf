"""Generated images to withhold, and the leakage that remains in the others, for the report."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from query.comparison.combined import COMBINED
from query.comparison.copies import CopyKind
from query.database.record_release import RecordedRelease, read_release
from query.database.store import Store
from query.evaluation.resampling import Estimate
from query.leakage.decision import FIGURES, P_VALUE, SHARE_LOW, groups_of
from query.leakage.evidence import ALPHA
from query.leakage.leakage import EXPECTED, LeakageError
from query.report.pairs import MEASURES, PairMatch, PairsSummary, match_of, strong
from query.report.predictions import CalledUsed, leakage_kept
from query.report.statistics import content, rows

RULES = ("same file", "copy", "filter", "blank", "predicted used", "match")


@dataclass(frozen=True)
class Filter:
    """What the run keeps of the filter.

    Attributes:
        figures: ``before`` and ``after`` the filter -> figure -> value with its interval.
        kept: its decisions.
        reason: why there are no figures.
    """

    figures: Mapping[str, Mapping[str, Estimate]]
    kept: RecordedRelease
    reason: str


def filtered(store: Store, run: int, labels: Mapping[int, bool], groups: Mapping[int, str]) -> Filter:
    """Leakage of used against not used real images by all views combined, and the decisions of `query.leakage.filter`.

    Args:
        labels: number of a real image -> whether it was used.
        groups: number of a real image -> its group.
    """
    kept = read_release(store, run)
    figures = leakage_kept(store, run)
    return Filter(figures, kept, "" if figures else _reason(store, run, labels, groups))


def _reason(store: Store, run: int, labels: Mapping[int, bool], groups: Mapping[int, str]) -> str:
    """Why leakage was not measured."""
    if len(set(labels.values())) < 2:
        return "it takes real images known to be used and others known not to be used (--labels, or --hold-out of filter)"
    (about,) = store.sql("SELECT distances FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    if about["distances"] == "histogram":
        return "there are too many pairs for this run; `synthtrace leakage` and `synthtrace filter` measure them"
    try:
        groups_of(*([groups[image] for image, used in labels.items() if used is kind] for kind in (True, False)))
    except LeakageError as error:
        return str(error)
    return "there are too few groups of used or not used images, or the run is of an earlier version of synthtrace"


@dataclass(frozen=True)
class LeakageFigure:
    """A figure before and after the filter, beside what is expected without leakage."""

    figure: str
    expected: float | None
    before: Estimate | None
    after: Estimate | None


@dataclass(frozen=True)
class LeakageTest:
    """Whether used patients lie nearer to the generated images than patients not used, see `query.leakage.evidence`.

    Attributes:
        evidence: the p-value is at most 0.05.
        p_value: None where it was not tested.
        share_low: with 95% confidence at least this share of the used patients left a trace; None like `p_value`.
    """

    evidence: bool = False
    p_value: float | None = None
    share_low: float | None = None


@dataclass(frozen=True)
class LeakageSummary:
    """Leakage by all views together.

    Attributes:
        figures: empty where they were not measured.
        tests: ``before`` and ``after`` the filter -> the test of patients.
        reason: why they were not measured.
    """

    figures: Sequence[LeakageFigure]
    tests: Mapping[str, LeakageTest]
    reason: str


@dataclass(frozen=True)
class Reason:
    """A rule, and what it says of an image."""

    rule: str
    reason: str


@dataclass(frozen=True)
class WithheldImage:
    """A generated image to withhold."""

    id: int
    generated: str
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class WithheldSummary:
    """Generated images to withhold; None is not shown.

    Attributes:
        images: those with most reasons first.
        withheld, remain: how many.
        rules: rule -> how many; an image may fall under several.
        risk, threshold: of the filter, None where it decided nothing.
        beyond_filter: how many only other rules withhold, so that neither `synthtrace filter` nor the analysis `withheld` lists
            them; None where the filter decided nothing.
        beyond_rules: rule -> how many of these.
    """

    images: Sequence[WithheldImage]
    withheld: int | None
    remain: int | None
    rules: Mapping[str, int]
    risk: float | None
    threshold: float | None
    beyond_filter: int | None = None
    beyond_rules: Mapping[str, int] = field(default_factory=dict)


def leakage_summary(found: Filter) -> LeakageSummary:
    """The figures with what is expected without leakage, whether there is evidence, or why there are none."""
    expected = {str(figure): value for figure, value in EXPECTED.items()}
    before, after = (found.figures.get(when, {}) for when in ("before", "after"))
    figures = [LeakageFigure(name, expected.get(name), before.get(name), after.get(name)) for name in FIGURES]
    tests = {when: _test(each) for when, each in (("before", before), ("after", after))}
    return LeakageSummary(figures if found.figures else [], tests, found.reason)


def _test(figures: Mapping[str, Estimate]) -> LeakageTest:
    if P_VALUE not in figures or not figures[P_VALUE].known:
        return LeakageTest()
    p_value = figures[P_VALUE].value
    return LeakageTest(p_value <= ALPHA, p_value, figures[SHARE_LOW].value)


def withheld(store: Store, run: int, found: Filter, predicted_used: Sequence[CalledUsed], pairs: PairsSummary) -> WithheldSummary:
    """Each generated image to withhold with its reasons, how many by each rule, and how many remain.

    Args:
        found: what the filter says.
        predicted_used: real images that the primary method calls used.
        pairs: see `query.report.pairs.worrying`.
    """
    query = "SELECT image_id, name FROM images WHERE run_id = $run AND role = 'generated'"
    names: dict[int, str] = rows(store, query, run).set_index("image_id")["name"].to_dict()
    reasons: dict[int, list[Reason]] = {}

    def add(image: int, rule: str, text: str) -> None:
        reasons.setdefault(int(image), []).append(Reason(rule, text))

    for row in store.sql(_SAME_FILE, {"run": run}).to_pylist():
        add(row["generated"], "same file", f"is byte for byte the real image {row['real']}")
    for row in store.sql(_COPIES, {"run": run, "near": CopyKind.NEAR}).to_pylist():
        alike = "nearly the same pixels as" if row["near"] else "the same pixels as"
        add(row["generated"], "copy", f"shows {alike} the real image {row['real']} (correlation {row['similarity']:.4f})")
    for image, score in found.kept.withheld.items():
        if score is None:
            add(image, "blank", "no view sees anything in it, so it cannot be compared")
        else:
            add(
                image,
                "filter",
                f"filter score {score:.2f} towards a used image, above the threshold of {found.kept.threshold:.2f}",
            )
    nearest = _nearest_generated(store, run)
    for real in predicted_used:
        if real.id in nearest:
            add(nearest[real.id], "predicted used", f"is nearest to {real.image}, whose patient is called used")
    shown = [(pair.generated_id, pair.real, pair.match) for pair in pairs.shown]
    for image, real_name, match in (*_matches(store, run), *shown):
        if match and strong(match, pairs.threshold) and not any(each.rule == "match" for each in reasons.get(image, [])):
            add(image, "match", f"{match.inliers:,} of {match.matches:,} matched points fit {real_name}")
    strongest = sorted(reasons, key=lambda image: (-len(reasons[image]), image))
    images = [WithheldImage(image, names[image], reasons[image]) for image in strongest]
    beyond = [each for each in images if each.id not in found.kept.withheld] if found.kept.decided else []
    return WithheldSummary(
        images=images,
        withheld=len(images),
        remain=len(names) - len(images),
        rules=_rules(images),
        risk=found.kept.risk,
        threshold=found.kept.threshold,
        beyond_filter=len(beyond) if found.kept.decided else None,
        beyond_rules=_rules(beyond),
    )


def _rules(images: Sequence[WithheldImage]) -> dict[str, int]:
    """Rule -> how many images fall under it."""
    counts = Counter(rule for each in images for rule in {reason.rule for reason in each.reasons})
    return {rule: counts[rule] for rule in RULES if counts[rule]}


_SAME_FILE = f"""SELECT g.image_id AS generated, min(r.name) AS real
    FROM images AS g JOIN images AS r ON r.sha256 = g.sha256 AND {content("r")} = {content("g")}
    WHERE g.run_id = $run AND r.run_id = $run AND g.role = 'generated' AND r.role = 'real'
    GROUP BY g.image_id ORDER BY g.image_id"""


_COPIES = """SELECT c.generated_id AS generated, r.name AS real, c.kind = $near AS near, c.similarity
    FROM copies AS c JOIN images AS r ON r.run_id = c.run_id AND r.image_id = c.real_id
    WHERE c.run_id = $run AND c.kind <> 'file'
    QUALIFY row_number() OVER (PARTITION BY c.generated_id ORDER BY c.similarity DESC, c.real_id) = 1
    ORDER BY c.generated_id"""


def _nearest_generated(store: Store, run: int) -> dict[int, int]:
    query = f"""SELECT query_id, neighbour_id FROM neighbours
        WHERE run_id = $run AND query_role = 'real' AND rank = 1 AND view = '{COMBINED}' ORDER BY query_id"""
    return {int(row.query_id): int(row.neighbour_id) for row in rows(store, query, run).itertuples()}


def _matches(store: Store, run: int) -> Iterator[tuple[int, str, PairMatch]]:
    """Generated image, name of the real one, match: the strongest of a generated image first."""
    query = f"""SELECT m.generated_id, r.name AS real, {", ".join(f"m.{name}" for name in MEASURES)}
        FROM matches AS m JOIN images AS r ON r.run_id = m.run_id AND r.image_id = m.real_id
        WHERE m.run_id = $run ORDER BY m.generated_id, m.value DESC NULLS LAST, m.inliers DESC, m.real_id"""
    for row in store.sql(query, {"run": run}).to_pylist():
        yield row["generated_id"], row["real"], match_of(row)
