"""Images of a run: lists, one image, its nearest neighbours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from query.comparison.combined import COMBINED
from query.comparison.matching import MATCHED, SCORE
from query.database.store import Store
from query.inputs.reviews import Key, Pair, ReviewLabel
from query.service.backend.reviews.reviews import Reviews
from query.service.backend.runs.catalogue import check_view, primary_method, views
from query.service.errors import Refused
from query.service.schemas import (
    Decision,
    Image,
    Images,
    Membership,
    Nearest,
    Neighbour,
    Neighbours,
    Order,
    Role,
    Sort,
    Wanted,
)

_KEYS = {
    Sort.NAME: "i.name",
    Sort.DISTANCE: "CASE WHEN NOT (list_contains(i.blank, n.view) OR list_contains(o.blank, n.view)) THEN n.distance END",
    Sort.VALUE: "d.value",
    Sort.P_VALUE: "d.p_value",
    Sort.PROBABILITY: "d.probability_high",
    Sort.Q_VALUE: "d.q_value",
    Sort.MATCH: "m.value",
    Sort.GROUP: 'i."group"',
    Sort.MEMBERSHIP: "CASE WHEN i.role = 'real' THEN membership(l.used) END",
    Sort.ANSWER: "d.answer",
    Sort.REVIEW: "v.review",
}
# images with label, decision of the primary method, and match value
_IMAGES = f"""FROM images AS i
    LEFT JOIN labels AS l ON l.run_id = $run AND l.image_id = i.image_id
    LEFT JOIN decisions AS d ON d.run_id = $run AND d.image_id = i.image_id AND d.method = $method
    LEFT JOIN scores AS m ON m.run_id = $run AND m.image_id = i.image_id AND m.view = '{MATCHED}' AND m.score = '{SCORE}'"""
# neighbours o of the images i in $ids
_NEIGHBOURS = """SELECT n.view, n.distance, n.mirrored, o.image_id AS id, o.name, {columns},
        list_contains(i.blank, n.view) OR list_contains(o.blank, n.view) AS blank
    FROM neighbours AS n
    JOIN images AS i ON i.run_id = $run AND i.image_id = n.query_id
    JOIN images AS o ON o.run_id = $run AND o.image_id = n.neighbour_id
    WHERE n.run_id = $run AND n.query_id IN (SELECT unnest($ids)) AND {condition}
    ORDER BY n.view <> 'combined', n.view, n.rank"""


@dataclass(frozen=True)
class Filter:
    """Which images of a run, and in which order."""

    role: Role = Role.REAL
    search: str = ""
    membership: Membership | None = None
    answer: str | None = None
    review: Wanted | None = None
    sort: Sort = Sort.NAME
    order: Order = Order.ASC
    view: str = COMBINED


def listed(store: Store, run: int, reviews: Reviews, asked: Filter, offset: int, limit: int) -> Images:
    """The images that fit, from `offset` on.

    Raises:
        Refused: the run has no such view.
    """
    check_view(run, asked.view, [*views(store, run), MATCHED])
    ids = _ids(store, run, reviews, asked)
    found = described(store, run, reviews, ids[offset : offset + limit], asked.view)
    return Images(run=run, view=asked.view, total=len(ids), images=found)


def _ids(store: Store, run: int, reviews: Reviews, asked: Filter) -> list[int]:
    """Ids of all images that fit, in order."""
    reviewed = reviews.all()
    real, made = ("i", "o") if asked.role is Role.REAL else ("o", "i")
    query = f"""SELECT i.image_id
        {_IMAGES}
        LEFT JOIN (
            SELECT * FROM neighbours WHERE run_id = $run AND rank = 1 AND view IN ($view, $otherwise)
            QUALIFY row_number() OVER (PARTITION BY query_id ORDER BY view <> $view) = 1
        ) AS n ON n.query_id = i.image_id
        LEFT JOIN images AS o ON o.run_id = $run AND o.image_id = n.neighbour_id
        LEFT JOIN (SELECT unnest(CAST($pairs AS VARCHAR[])) AS pair, unnest(CAST($reviews AS VARCHAR[])) AS review) AS v
            ON v.pair = {_sql_key(real)} || ' ' || {_sql_key(made)}
        WHERE i.run_id = $run AND i.role = $role
            AND contains(lower(i.name), lower($search))
            AND ($membership IS NULL OR (i.role = 'real' AND membership(l.used) = $membership))
            AND ($answer IS NULL OR d.answer = $answer)
            AND ($review IS NULL OR coalesce(v.review, '{Wanted.NONE}') = $review)
        ORDER BY {_KEYS[asked.sort]} {asked.order.upper()} NULLS LAST, {_KEYS[Sort.DISTANCE]} NULLS LAST, i.image_id"""
    values = {name: getattr(asked, name) for name in ("role", "search", "membership", "answer", "review", "view")}
    parameters = {
        **{name: None if value is None else str(value) for name, value in values.items()},
        "run": run,
        "otherwise": _otherwise(asked.view),
        "method": primary_method(store, run),
        "pairs": [f"{_text(of_real)} {_text(of_made)}" for of_real, of_made in reviewed],
        "reviews": [str(kept.review) for kept in reviewed.values()],
    }
    ids: list[int] = store.sql(query, parameters)["image_id"].to_pylist()
    return ids


def _otherwise(view: str) -> str:
    """The view whose nearest counts for an image of which no pair was matched: nothing was added to its distances."""
    return COMBINED if view == MATCHED else view


def _sql_key(table: str) -> str:
    return f"{table}.sha256 || '#' || {table}.frame"


def _text(key: Key) -> str:
    return f"{key[0]}#{key[1]}"


def one(store: Store, run: int, reviews: Reviews, image_id: int, view: str) -> Image:
    """An image.

    Raises:
        Refused: the run has none of this id, or no such view.
    """
    check_view(run, view, [*views(store, run), MATCHED])
    found = described(store, run, reviews, [image_id], view)
    if not found:
        raise Refused(404, f"run {run} has no image {image_id}")
    return found[0]


def keys_of(store: Store, run: int, ids: Sequence[int]) -> dict[int, Key]:
    """Id -> content of the image: SHA-256 of its file, and the frame."""
    query = "SELECT image_id, sha256, frame FROM images WHERE run_id = $run AND image_id IN (SELECT unnest($ids))"
    rows = store.sql(query, {"run": run, "ids": list(ids)}).to_pylist()
    return {row["image_id"]: (row["sha256"], row["frame"]) for row in rows}


def key_of(store: Store, run: int, image_id: int) -> Key:
    """Content of one image.

    Raises:
        Refused: the run has none of this id.
    """
    found = keys_of(store, run, [image_id])
    if not found:
        raise Refused(404, f"run {run} has no image {image_id}")
    return found[image_id]


def roles_of(store: Store, run: int, ids: Sequence[int]) -> dict[int, str]:
    """Id -> side, of those that the run has."""
    return _column(store, run, ids, "role")


def names_of(store: Store, run: int, ids: Sequence[int]) -> dict[int, str]:
    """Id -> name, of those that the run has."""
    return _column(store, run, ids, "name")


def _column(store: Store, run: int, ids: Sequence[int], column: str) -> dict[int, str]:
    query = f"SELECT image_id, {column} FROM images WHERE run_id = $run AND image_id IN (SELECT unnest($ids))"
    found = store.sql(query, {"run": run, "ids": list(ids)})
    return dict(zip(found["image_id"].to_pylist(), found[column].to_pylist(), strict=True))


def ids_of(store: Store, run: int, pairs: Iterable[Pair]) -> dict[tuple[str, Key], int]:
    """Side and content -> id, of the images of these pairs that the run has; of equal images the first."""
    hashes = sorted({key[0] for pair in pairs for key in pair})
    query = """SELECT role, sha256, frame, min(image_id) AS id FROM images
        WHERE run_id = $run AND sha256 IN (SELECT unnest(CAST($hashes AS VARCHAR[]))) GROUP BY ALL"""
    rows = store.sql(query, {"run": run, "hashes": hashes}).to_pylist()
    return {(row["role"], (row["sha256"], row["frame"])): row["id"] for row in rows}


def described(store: Store, run: int, reviews: Reviews, ids: Sequence[int], view: str) -> list[Image]:
    """These images, in this order; ids that the run does not have are left out."""
    query = f"""SELECT i.*, membership(l.used) AS membership, m.value AS match, d.image_id IS NOT NULL AS decided,
            d.method, d.value, d.threshold, d.p_value, d.q_value, d.probability_low, d.probability_high, d.answer
        {_IMAGES}
        WHERE i.run_id = $run AND i.image_id IN (SELECT unnest($ids))"""
    asked = {"run": run, "ids": list(ids)}
    rows = store.sql(query, {**asked, "method": primary_method(store, run)}).to_pylist()
    nearest, keys = _nearest(store, asked)
    found = {}
    for row in rows:
        near = nearest.get(row["image_id"], {})
        if view not in near and _otherwise(view) in near:
            near[view] = near[_otherwise(view)]
        own, other = (row["sha256"], row["frame"]), keys[near[view].id] if view in near else None
        real, generated = (own, other) if row["role"] == Role.REAL else (other, own)
        reviewed = reviews.get(real, generated) if real and generated else None
        found[row["image_id"]] = _image(row, near, reviewed.review if reviewed else None)
    return [found[each] for each in ids if each in found]


def _image(row: dict[str, Any], near: dict[str, Nearest], reviewed: ReviewLabel | None) -> Image:
    real = row["role"] == Role.REAL
    plain = ("role", "name", "frame", "group", "blank", "width", "height", "match")
    return Image(
        id=row["image_id"],
        membership=Membership(row["membership"]) if real else None,
        nearest=near,
        decision=Decision(**{name: row[name] for name in Decision.model_fields}) if row["decided"] else None,
        review=reviewed,
        **{name: row[name] for name in plain},
    )


def _nearest(store: Store, asked: dict[str, Any]) -> tuple[dict[int, dict[str, Nearest]], dict[int, Key]]:
    """Image -> view -> nearest, and the contents of the nearest."""
    query = _NEIGHBOURS.format(columns="n.query_id, o.sha256, o.frame", condition="n.rank = 1")
    found: dict[int, dict[str, Nearest]] = {}
    keys: dict[int, Key] = {}
    for row in store.sql(query, asked).to_pylist():
        keys[row["id"]] = (row.pop("sha256"), row.pop("frame"))
        query_id, view = row.pop("query_id"), row.pop("view")
        found.setdefault(query_id, {})[view] = Nearest(**row)
    return found, keys


def neighbours(store: Store, run: int, image_id: int, view: str | None, k: int) -> Neighbours:
    """The k nearest images of the other side, by view and rank.

    Raises:
        Refused: the run has no such image or view.
    """
    if view is not None:
        check_view(run, view, [*views(store, run), MATCHED])
    if not keys_of(store, run, [image_id]):
        raise Refused(404, f"run {run} has no image {image_id}")
    query = _NEIGHBOURS.format(columns="n.rank", condition="n.rank <= $k AND ($view IS NULL OR n.view = $view)")
    rows = store.sql(query, {"run": run, "ids": [image_id], "view": view, "k": k}).to_pylist()
    units = {name: each.short_unit for name, each in views(store, run).items()} | {MATCHED: "sd"}
    found = [Neighbour(**row, unit=units.get(row["view"], "")) for row in rows]
    return Neighbours(run=run, id=image_id, neighbours=found)
