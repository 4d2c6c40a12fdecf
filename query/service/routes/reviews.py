"""Routes: reviews of pairs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from query.database.readings import Agreement, readings
from query.inputs.reviews import Kept
from query.report.text.readers import agreement_lines
from query.service.backend.reviews.reviews import now
from query.service.backend.runs import gallery
from query.service.errors import Refused
from query.service.routes.dependencies import CurrentService, CurrentSnapshot, RunId
from query.service.routes.images import check_pair
from query.service.schemas import KeptReview, ReadByReaders, ReaderAgreement, ReaderLabels, Readers, Review
from query.service.schemas import Reviews as AllReviews
from query.text import plain

router = APIRouter(prefix="/v1")
Ids = Annotated[tuple[int, int], Depends(check_pair)]


@router.get("/reviews")
def reviews(service: CurrentService, snapshot: CurrentSnapshot, run: RunId) -> AllReviews:
    """All reviews, the latest last."""
    kept = service.reviews.all()
    ids = gallery.ids_of(snapshot.store, run, kept)
    found = [
        KeptReview(
            review=each.review,
            note=each.note,
            real_id=ids.get(("real", real)),
            generated_id=ids.get(("generated", generated)),
            real=each.real,
            generated=each.generated,
            time=each.time,
        )
        for (real, generated), each in kept.items()
    ]
    return AllReviews(run=run, reviews=found)


@router.get("/readers")
def readers(service: CurrentService, snapshot: CurrentSnapshot, run: RunId) -> Readers:
    """What blinded readers say of the pairs of a run, and how far they agree."""
    found = readings(snapshot.store, run, service.reviews.blinded())
    return Readers(
        run=run,
        patients=found.patients,
        readers=[ReaderLabels(reader=name, labels=plain(labels)) for name, labels in found.readers.items()],
        agreements=[ReaderAgreement(**_figures(each)) for each in found.agreements],
        words=agreement_lines(found) if found.readers else [],
        pairs=[ReadByReaders(**plain(pair)) for pair in found.pairs],
    )


def _figures(found: Agreement) -> dict[str, Any]:
    value, low, high = map(plain, found.estimate.ends)
    about = {"coefficient": found.coefficient, "readers": list(found.readers), "pairs": found.pairs}
    return {**about, "value": value, "low": low, "high": high}


@router.get("/reviews.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def reviews_csv(service: CurrentService) -> Response:
    """All reviews as CSV, those of blinded readers too, with the SHA-256 of the images."""
    headers = {"Content-Disposition": 'attachment; filename="reviews.csv"'}
    return Response(service.reviews.as_csv(), media_type="text/csv; charset=utf-8", headers=headers)


@router.put("/reviews/{real}/{generated}")
def put(service: CurrentService, snapshot: CurrentSnapshot, run: RunId, ids: Ids, review: Review) -> KeptReview:
    """Save a review of a pair; it replaces an earlier one."""
    keys, names = gallery.keys_of(snapshot.store, run, ids), gallery.names_of(snapshot.store, run, ids)
    kept = Kept(review.review, review.note, names[ids[0]], names[ids[1]], now())
    service.reviews.put(keys[ids[0]], keys[ids[1]], kept)
    return KeptReview(
        review=kept.review,
        note=kept.note,
        real_id=ids[0],
        generated_id=ids[1],
        real=kept.real,
        generated=kept.generated,
        time=kept.time,
    )


@router.delete("/reviews/{real}/{generated}", status_code=204)
def delete(service: CurrentService, snapshot: CurrentSnapshot, run: RunId, ids: Ids) -> Response:
    """Delete a review."""
    keys = gallery.keys_of(snapshot.store, run, ids)
    if not service.reviews.remove(keys[ids[0]], keys[ids[1]]):
        raise Refused(404, "this pair has no review")
    return Response(status_code=204)
