"""Pairs to review: which, how near, the result of matching, and the reason in words."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.images.decoding import flip
from embeddings.images.errors import ImageError, MissingFolder
from embeddings.types import GreyImage
from embeddings.views.keypoints import keypoints
from query.comparison.geometry import Match, laid_over, match
from query.database.pictures import RunPictures
from query.database.store import Store, StoreError
from query.inputs.reviews import read_reviews
from query.report.statistics import CLOSEST, recorded_distances, recorded_views
from query.text import many, plain

SHOWN = 12
# Fixed, calibrated by nothing. Nearest pairs of 200 real slices and 2,000 generated ones: 100 copies had 49 inliers and a ratio
# of 0.56 or more, 100 others at most 26 and 0.37.
INLIERS, INLIER_RATIO = 40, 0.5
FIXED_RULE = "a fixed rule, not calibrated"
UNKNOWN_RULE = "a threshold from real images beside each other, not calibrated by patients"
MEASURES = ("value", "matches", "inliers", "inlier_ratio", "area", "residual", "correlation", "ssim")


@dataclass(frozen=True)
class Shown:
    """The pixels of a pair.

    Attributes:
        real: (H, W) uint8, flipped and turned as it was matched.
        generated: (H, W) uint8.
        found: how the one lies on the other.
    """

    real: GreyImage
    generated: GreyImage
    found: Match


@dataclass(frozen=True)
class PairMatch:
    """Measures of a match, see `query.comparison.geometry.Match`; no value where the run did not match the pair itself."""

    value: float | None
    matches: int
    inliers: int
    inlier_ratio: float
    area: float | None
    residual: float | None
    correlation: float | None
    ssim: float | None


@dataclass(frozen=True)
class PairSummary:
    """A pair to look at.

    Attributes:
        mirrored, quarter_turns: how the real image was matched.
        match: None where it was not compared point by point.
        review: what a person says, ``review`` and ``note``.
        distances: by view, None where the run did not keep it.
        reason: why the pair is here.
        missing: why there is no picture of it.
    """

    real_id: int
    real: str
    generated_id: int
    generated: str
    mirrored: bool
    quarter_turns: int
    match: PairMatch | None
    review: Mapping[str, str] | None
    distances: Mapping[str, float | None]
    reason: str
    missing: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values, ``missing`` only where there is no picture."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if name != "missing" or value}


@dataclass(frozen=True)
class PairsSummary:
    """The pairs to look at; None is not shown.

    Attributes:
        matched: pairs that the run compared point by point.
        threshold: of the match value, None for the fixed rule.
        rule: whether that is calibrated, in words.
        looked_at, strong: real images compared by the run or for the report; those that are `strong`.
    """

    shown: Sequence[PairSummary]
    threshold: float | None
    rule: str
    matched: int | None = None
    looked_at: int | None = None
    strong: int | None = None


def pairs_to_review(store: Store, run: int, reviews: Path) -> tuple[PairsSummary, dict[int, Shown]]:
    """The pairs by what matching says of them, then the closest by all views, each real image once; pixels by place in the list.

    Args:
        reviews: file that the review page keeps what people think of pairs in.
    """
    chosen = _matched(store, run)
    matched = store.sql("SELECT count(*) AS n FROM matches WHERE run_id = $run", {"run": run}).to_pylist()[0]["n"]
    real = {pair["real_id"] for pair in chosen}
    chosen += [pair for pair in _closest(store, run) if pair["real_id"] not in real][: SHOWN - len(chosen)]
    threshold, rule = _rule(store, run)
    reviewed = read_reviews(reviews)
    pairs = []
    views = [view.view for view in recorded_views(store, run)]
    for row in chosen:
        recorded = recorded_distances(store, run, row["real_id"], row["generated_id"])
        distances = {view: recorded[view].distance if view in recorded else None for view in views}
        keys = [tuple(row.pop(f"{side}_{key}") for key in ("sha256", "frame")) for side in ("real", "generated")]
        kept = reviewed.get((keys[0], keys[1]))
        review = None if kept is None else {"review": str(kept.review), "note": kept.note}
        pairs.append(PairSummary(**row, review=review, distances=distances, reason=""))
    shown = _look(store, run, pairs)
    pairs = [replace(pair, reason=_reason(pair, threshold)) for pair in pairs]
    return PairsSummary(pairs, threshold, rule, matched, *_looked_at(store, run, pairs, threshold)), shown


def _rule(store: Store, run: int) -> tuple[float | None, str]:
    """The match value above which a pair is a match, None where the run found none; and whether that is calibrated, in words."""
    query = "SELECT threshold, level, controls, control_groups FROM matching WHERE run_id = $run AND threshold IS NOT NULL"
    found = store.sql(query, {"run": run}).to_pylist()
    if not found:
        return None, FIXED_RULE
    kept = found[0]
    if kept["level"] is None:
        return kept["threshold"], UNKNOWN_RULE
    controls, groups = many(kept["controls"], "real image"), many(kept["control_groups"], "group")
    note = f"calibrated on {controls} of {groups} beside those of other groups, at a level of {kept['level']:.2g}"
    return kept["threshold"], note


def strong(match: PairMatch, threshold: float | None) -> bool:
    """Whether so many matched points fit one transform that both images look like one picture.

    Args:
        threshold: of the match value, from the run; None for the fixed rule, which nothing calibrates.
    """
    if threshold is not None:
        return match.value is not None and match.value > threshold
    return match.inliers >= INLIERS and match.inlier_ratio >= INLIER_RATIO


def _looked_at(store: Store, run: int, shown: Sequence[PairSummary], threshold: float | None) -> tuple[int, int]:
    """How many real images were compared point by point, by the run or for this report, and how many of them are `strong`."""
    rows = store.sql("SELECT * FROM matches WHERE run_id = $run", {"run": run}).to_pylist()
    matches = [(row["real_id"], match_of(row)) for row in rows]
    matches += [(pair.real_id, pair.match) for pair in shown if pair.match]
    return len({real for real, _ in matches}), len({real for real, match in matches if strong(match, threshold)})


def match_of(row: Any) -> PairMatch:
    """From a row of table matches."""
    return PairMatch(**{name: plain(row[name]) for name in MEASURES})


def _look(store: Store, run: int, pairs: list[PairSummary]) -> dict[int, Shown]:
    """Read and match the pixels of pairs: place in the list -> pixels. What could not be read is said in the pair's `missing`.

    A pair that the run did not match gets its `match` here.
    """
    try:
        pictures = RunPictures(store, run)
    except StoreError as error:
        pairs[:] = [replace(pair, missing=str(error).removeprefix(f"{store.path}: ")) for pair in pairs]
        return {}
    read = {}
    named = False
    for place, pair in enumerate(pairs):
        try:
            real, generated = (pictures.read(image) for image in (pair.real_id, pair.generated_id))
        except MissingFolder as error:  # named once, not for every pair
            pairs[place] = replace(pair, missing="as above" if named else str(error))
            named = True
            continue
        except ImageError as error:
            pairs[place] = replace(pair, missing=str(error))
            continue
        turned = np.ascontiguousarray(np.rot90(flip(real) if pair.mirrored else real, pair.quarter_turns))
        read[place] = turned, generated
    with ThreadPoolExecutor() as pool:  # after reading: a store that writes belongs to one thread
        found = pool.map(lambda sides: match(*map(keypoints, sides)), read.values())
        shown = {place: Shown(*sides, each) for (place, sides), each in zip(read.items(), found, strict=True)}
    for place, each in shown.items():
        if pairs[place].match is None:
            measures = {name: plain(getattr(each.found, name)) for name in MEASURES[1:]}
            pairs[place] = replace(pairs[place], match=PairMatch(value=None, **measures))
    return shown


def _reason(pair: PairSummary, threshold: float | None) -> str:
    """Why the pair is here, in words."""
    match = pair.match
    by_views = "It is here because all views together put it among the nearest."
    if match is None:
        return f"Not compared point by point. {by_views}"
    if not match.inliers:
        return f"No common structure was found point by point. {by_views}"
    how = "Flipped or rotations, " if pair.mirrored or pair.quarter_turns else ""
    note = f"{how}{match.inliers:,} of {match.matches:,} matched points fit one shift, turn and scale"
    if match.correlation is not None:
        note += f"; after alignment grey levels correlate {match.correlation:.2f}"
    return f"{note}." if strong(match, threshold) else f"{note}. That is too little to speak for a copy by itself. {by_views}"


_NAMED = """SELECT r.image_id AS real_id, r.name AS real, r.sha256 AS real_sha256, r.frame AS real_frame,
    g.image_id AS generated_id, g.name AS generated, g.sha256 AS generated_sha256, g.frame AS generated_frame"""


def _matched(store: Store, run: int) -> list[dict[str, Any]]:
    """The strongest match of each real image, among the strongest."""
    query = f"""{_NAMED}, m.mirrored, m.quarter_turns, {", ".join(f"m.{name}" for name in MEASURES)}
        FROM matches AS m
        JOIN images AS r ON r.run_id = m.run_id AND r.image_id = m.real_id
        JOIN images AS g ON g.run_id = m.run_id AND g.image_id = m.generated_id
        WHERE m.run_id = $run
        QUALIFY row_number() OVER (PARTITION BY m.real_id ORDER BY m.value DESC NULLS LAST, m.inliers DESC, m.generated_id) = 1
        ORDER BY m.value DESC NULLS LAST, m.inliers DESC, m.real_id LIMIT {SHOWN}"""
    found = store.sql(query, {"run": run}).to_pylist()
    return [{**{key: row[key] for key in row if key not in MEASURES}, "match": match_of(row)} for row in found]


def _closest(store: Store, run: int) -> list[dict[str, Any]]:
    pairs = store.sql(f"{_NAMED}, n.mirrored, 0 AS quarter_turns {CLOSEST}", {"run": run, "count": 2 * SHOWN}).to_pylist()
    return [{**pair, "match": None} for pair in pairs]


def difference(shown: Shown) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Generated minus aligned real image, (H, W) grey levels, and where both show something."""
    if not shown.found.inliers:
        return np.zeros(shown.generated.shape, np.int16), np.zeros(shown.generated.shape, bool)
    laid, seen = laid_over(shown.real, shown.generated, shown.found.transform)
    return shown.generated.astype(np.int16) - laid, seen
