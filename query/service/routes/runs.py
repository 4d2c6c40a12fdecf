"""Routes: collections, runs, distances, analyses and SQL."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath

from query.comparison.combined import COMBINED
from query.service.backend.runs import catalogue
from query.service.backend.service import IDS_NEED_RUN, NO_IDS, Service
from query.service.backend.snapshot import Snapshot
from query.service.backend.sql import queries
from query.service.routes.dependencies import LARGEST, CurrentService, CurrentSnapshot, SnapshotIfAny, ViewName, known
from query.service.schemas import (
    Analyses,
    CollectionInfo,
    Collections,
    Distances,
    Parameters,
    Patients,
    Question,
    RunInfo,
    Runs,
    Table,
)

router = APIRouter(prefix="/v1")
Number = Annotated[int, InPath(ge=1, le=LARGEST)]


@router.get("/collections")
def collections(service: CurrentService, snapshot: SnapshotIfAny) -> Collections:
    """The collection that uploaded images are searched in."""
    return Collections(collections=[collection_info(service, snapshot)])


def collection_info(service: Service, snapshot: Snapshot | None) -> CollectionInfo:
    """The collection, and whether the latest run compared it."""
    manifest = service.collection.manifest
    views = [
        catalogue.view_of(name, str(entry.spec.metric), entry.spec.dim, entry.notes) for name, entry in manifest.views.items()
    ]
    compared = snapshot.run if snapshot and snapshot.ids is not None else None
    if snapshot is None:
        note = IDS_NEED_RUN
    else:
        note = f"run {compared} compared these images" if compared else NO_IDS.format(run=snapshot.run)
    return CollectionInfo(
        name=service.collection.folder.name,
        images=manifest.images,
        failed=manifest.failed,
        views=views,
        run=compared,
        note=note,
    )


@router.get("/runs")
def runs(snapshot: CurrentSnapshot) -> Runs:
    """Finished runs, the latest first."""
    return catalogue.runs(snapshot.store)


@router.get("/runs/{run}")
def run(snapshot: CurrentSnapshot, run: Number) -> RunInfo:
    """Inputs, settings and views of a run."""
    return catalogue.run_info(snapshot.store, known(snapshot, run))


@router.get("/runs/{run}/patients")
def patients(
    snapshot: CurrentSnapshot,
    run: Number,
    decision: Annotated[str | None, Query(max_length=50, description="used, no trace found or undecided")] = None,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Patients:
    """Decisions of the primary method on patients, the smallest p first."""
    return catalogue.patients(snapshot.store, known(snapshot, run), decision, offset, limit)


@router.get("/runs/{run}/distances")
def distances(snapshot: CurrentSnapshot, run: Number, view: ViewName = COMBINED) -> Distances:
    """Distribution of distances in a view: over all pairs, and to the nearest neighbour."""
    return catalogue.distances(snapshot.store, known(snapshot, run), view)


@router.get("/analyses")
def analyses() -> Analyses:
    """List the named analyses and their parameters."""
    return queries.analyses()


@router.post("/analyses/{name}")
async def analyse(service: CurrentService, snapshot: CurrentSnapshot, name: str, given: Parameters) -> Table:
    """Run a named analysis."""
    return await service.questions.run(queries.analyse, snapshot.store, name, given.parameters)


@router.post("/sql", response_model=Table)
async def ask(service: CurrentService, snapshot: CurrentSnapshot, question: Question) -> Response:
    """Run one SELECT, limited to 10,000 rows and 10 seconds."""
    found = await service.questions.run(queries.ask, snapshot.store, question.query)
    return Response(found, media_type="application/json")
