"""Routes: what people think of pairs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from query.service import gallery
from query.service.models import KeptVerdict, Verdict
from query.service.models import Verdicts as AllVerdicts
from query.service.problems import Refused
from query.service.routes.asked import Asked, Run, Snap
from query.service.routes.images import check_pair
from query.service.verdicts import Kept, now

router = APIRouter(prefix="/v1")
Ids = Annotated[tuple[int, int], Depends(check_pair)]


@router.get("/verdicts")
def verdicts(service: Asked, snapshot: Snap, run: Run) -> AllVerdicts:
    """All verdicts, the latest last."""
    kept = service.verdicts.all()
    ids = gallery.ids_of(snapshot.store, run, kept)
    found = [
        KeptVerdict(
            verdict=each.verdict,
            note=each.note,
            real_id=ids.get(("real", real)),
            generated_id=ids.get(("generated", generated)),
            real=each.real,
            generated=each.generated,
            time=each.time,
        )
        for (real, generated), each in kept.items()
    ]
    return AllVerdicts(run=run, verdicts=found)


@router.get("/verdicts.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def verdicts_csv(service: Asked) -> Response:
    """All verdicts as CSV, with the contents of the images that they are about."""
    headers = {"Content-Disposition": 'attachment; filename="verdicts.csv"'}
    return Response(service.verdicts.as_csv(), media_type="text/csv; charset=utf-8", headers=headers)


@router.put("/verdicts/{real}/{generated}")
def put(service: Asked, snapshot: Snap, run: Run, ids: Ids, verdict: Verdict) -> KeptVerdict:
    """Keep a verdict of a pair, in place of an earlier one."""
    keys, names = gallery.keys_of(snapshot.store, run, ids), gallery.names_of(snapshot.store, run, ids)
    kept = Kept(verdict.verdict, verdict.note, names[ids[0]], names[ids[1]], now())
    service.verdicts.put(keys[ids[0]], keys[ids[1]], kept)
    return KeptVerdict(
        verdict=kept.verdict,
        note=kept.note,
        real_id=ids[0],
        generated_id=ids[1],
        real=kept.real,
        generated=kept.generated,
        time=kept.time,
    )


@router.delete("/verdicts/{real}/{generated}", status_code=204)
def delete(service: Asked, snapshot: Snap, run: Run, ids: Ids) -> Response:
    """Take a verdict back."""
    keys = gallery.keys_of(snapshot.store, run, ids)
    if not service.verdicts.remove(keys[ids[0]], keys[ids[1]]):
        raise Refused(404, "this pair has no verdict")
    return Response(status_code=204)
