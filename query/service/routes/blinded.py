"""Routes of blinded reading. In this mode they are the only ones that tell anything of a run: everything else is refused."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi import Path as InPath

from query.inputs.reviews import Kept
from query.service.backend.reviews.blinded import BlindedReading, HiddenPair, Reader
from query.service.backend.reviews.reviews import now
from query.service.backend.runs import gallery
from query.service.backend.snapshot import Snapshot
from query.service.backend.thumbnails import png
from query.service.errors import Refused
from query.service.routes.dependencies import CurrentService, CurrentSnapshot
from query.service.routes.images import PNG, picture_response
from query.service.schemas import Begun, BlindedPair, BlindedPairs, Mode, NewReader, Review, Side

router = APIRouter(prefix="/v1")
closed = APIRouter(prefix="/v1")
_HIDDEN = "this service is blinded: labels, scores, names and decisions are hidden until it is started without --blinded"


async def reading_of(request: Request) -> BlindedReading:
    """The reading of this application."""
    reading: BlindedReading = request.app.state.blinded
    return reading


CurrentReading = Annotated[BlindedReading, Depends(reading_of)]


async def reader_of(reading: CurrentReading, synthtrace_reader: Annotated[str, Header(max_length=100)] = "") -> Reader:
    """Who reads."""
    return reading.reader(synthtrace_reader)


CurrentReader = Annotated[Reader, Depends(reader_of)]
Place = Annotated[int, InPath(ge=0, le=10**9, description="place in the reader's own order, from 0")]


@dataclass(frozen=True)
class Asked:
    """A pair that a reader asks for, as of a snapshot."""

    reading: BlindedReading
    snapshot: Snapshot
    reader: Reader
    place: int
    pair: HiddenPair

    @property
    def run(self) -> int:
        """The run that is read."""
        return self.reading.run(self.snapshot)


def asked_of(snapshot: CurrentSnapshot, reading: CurrentReading, reader: CurrentReader, place: Place) -> Asked:
    """The pair asked for."""
    return Asked(reading, snapshot, reader, place, reading.pair(snapshot, reader, place))


CurrentPair = Annotated[Asked, Depends(asked_of)]


@router.get("/mode")
async def mode(service: CurrentService, request: Request) -> Mode:
    """Whether this service is blinded, and for which reader; and whether it has a database."""
    reading: BlindedReading | None = request.app.state.blinded
    only = reading.blinding.reader or None if reading else None
    return Mode(blinded=reading is not None, reader=only, database=service.has_database)


@closed.post("/blinded/readers")
def begin(reading: CurrentReading, wanted: NewReader) -> Begun:
    """Begin as a reader, or go on with the code given then; send the code as header Synthtrace-Reader from now on."""
    reader, code = reading.begin(wanted.reader, wanted.code)
    return Begun(reader=reader, code=code)


@closed.get("/blinded/pairs")
def pairs(snapshot: CurrentSnapshot, reading: CurrentReading, reader: CurrentReader) -> BlindedPairs:
    """The reader's own labels, in the reader's own order of the pairs."""
    labels = [kept.review if kept else None for kept in reading.labels(snapshot, reader)]
    return BlindedPairs(reader=reader.name, total=len(labels), labels=labels)


@closed.get("/blinded/pairs/{place}")
def pair(service: CurrentService, asked: CurrentPair) -> BlindedPair:
    """The reader's own label of a pair."""
    kept = service.reviews.get(*asked.pair.keys, asked.reader.name)
    return BlindedPair(place=asked.place, review=Review(review=kept.review, note=kept.note) if kept else None)


@closed.get("/blinded/pairs/{place}/{side}", response_class=Response, responses=PNG)
def picture(asked: CurrentPair, side: Side) -> Response:
    """One of the two pictures; which of them is the real one is drawn for each pair."""
    image = asked.reading.side(asked.reader, asked.pair, side)
    return picture_response(png(asked.snapshot.pictures(asked.run).read(image)))


@closed.put("/blinded/pairs/{place}")
def put(service: CurrentService, asked: CurrentPair, review: Review) -> BlindedPair:
    """Save the reader's label of a pair; it replaces an earlier one of this reader."""
    names = gallery.names_of(asked.snapshot.store, asked.run, asked.pair.ids)
    real, generated = (names[image] for image in asked.pair.ids)
    kept = Kept(review.review, review.note, real, generated, now(), asked.reader.name, asked.reader.code)
    service.reviews.put(*asked.pair.keys, kept)
    return BlindedPair(place=asked.place, review=review)


@closed.delete("/blinded/pairs/{place}", status_code=204)
def delete(service: CurrentService, asked: CurrentPair) -> Response:
    """Delete the reader's label of a pair."""
    if not service.reviews.remove(*asked.pair.keys, asked.reader.name):
        raise Refused(404, "this pair has no label of yours")
    return Response(status_code=204)


@closed.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
async def hidden(rest: str) -> Response:
    """Everything else."""
    raise Refused(403, _HIDDEN)
