"""JSON schemas of requests and responses. Undefined numbers are null; images are named by their ids in a run."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from query.inputs.reviews import NOTE_LENGTH, ReviewLabel

Id = Annotated[int, Field(ge=0, description="image_id in the run")]


class Role(StrEnum):
    """Which side of a run."""

    REAL = "real"
    GENERATED = "generated"


class Membership(StrEnum):
    """What was known of a real image before anything was measured."""

    USED = "used"
    NOT_USED = "not used"
    UNLABELLED = "unlabelled"


class Wanted(StrEnum):
    """Which reviews a list is about."""

    COPY = "copy"
    SIMILAR = "similar"
    UNRELATED = "unrelated"
    NONE = "none"


class Sort(StrEnum):
    """What a list of images is sorted by; where it is not defined an image comes last."""

    NAME = "name"
    DISTANCE = "distance"
    VALUE = "value"
    P_VALUE = "p_value"
    PROBABILITY = "probability"
    Q_VALUE = "q_value"
    MATCH = "match"
    GROUP = "group"
    MEMBERSHIP = "membership"
    ANSWER = "answer"
    REVIEW = "review"


class Order(StrEnum):
    """Smallest first, or largest."""

    ASC = "asc"
    DESC = "desc"


class Model(BaseModel):
    """Of all that goes over the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Model):
    """Why a request got no answer."""

    status: int
    code: str = Field(description="one word for programs")
    reason: str = Field(description="one line for people")


class Failure(Model):
    """Every error looks like this."""

    error: Problem


class Living(Model):
    """The process answers."""

    status: str


class Ready(Model):
    """The service can answer everything; `run` is the latest finished one."""

    status: str
    run: int


class View(Model):
    """A view of a collection or a run."""

    view: str
    metric: str
    dim: int
    unit: str = Field(description="long, for an axis")
    short_unit: str = Field(description="bits, sd or nothing, to stand behind a number")
    note: str = Field(description="what a reader must know, e.g. that a network was not trained")


class CollectionInfo(Model):
    """The collection that uploads are looked up in."""

    name: str
    images: int
    failed: int
    views: list[View]
    run: int | None = Field(description="the latest run, where it compared exactly these images; hits have ids only then")
    note: str


class Collections(Model):
    """All collections that are searched: one."""

    collections: list[CollectionInfo]


class RunShort(Model):
    """One finished run."""

    run: int
    created: str = Field(description="UTC, ISO 8601")
    command: str
    real_images: int
    generated_images: int


class Runs(Model):
    """Finished runs, the latest first."""

    runs: list[RunShort]


class Labels(Model):
    """Real images by what was known of them."""

    used: int
    not_used: int
    unlabelled: int


class Method(Model):
    """How real images were reviewed."""

    method: str
    primary: bool = Field(description="the one whose answers count")
    calibrated: bool = Field(description="its threshold was found on images whose membership is known")
    note: str = Field(description="where its threshold comes from")
    answers: dict[str, int] = Field(description="answer -> real images")


class MatchReference(Model):
    """What match values of a run are held against."""

    threshold: float | None = Field(description="images that cannot be copies seldom exceed it; null where nothing calibrates it")
    level: float = Field(description="how seldom: share of images")
    controls: int = Field(description="real images that were compared with those of other groups")
    pairs: int = Field(description="compared when the run was made")
    generated_images: int = Field(description="looked at when the run was made")
    note: str


class RunInfo(Model):
    """What a run compared, and how."""

    run: int
    created: str
    command: str
    k: int
    mirror: bool
    images: dict[Role, int]
    failures: dict[Role, int] = Field(description="files that could not be read")
    distances: str = Field(description="all: every pair is kept; histogram: the nearest, and counts of all")
    settings: dict[str, Any]
    versions: dict[str, Any]
    views: list[View]
    labels: Labels
    methods: list[Method]
    verified_pairs: int = Field(description="pairs whose local structure was compared when the run was made")
    match: MatchReference | None = Field(description="null where no pair was compared")


class Threshold(Model):
    """A distance worth a mark on the axis."""

    name: str
    value: float
    note: str


class Distances(Model):
    """One view's distances: counts over all pairs, and of each image the distance to its nearest of the other side."""

    run: int
    view: str
    unit: str
    short_unit: str
    edges: list[float] = Field(description="of bins, one more than counts; edges[i] <= distance < edges[i + 1]")
    counts: list[int] = Field(description="pairs in each bin, exact")
    nearest: dict[str, list[float]] = Field(
        description="sorted distances to the nearest: of generated images, and of real ones that are used, not used, unlabelled"
    )
    thresholds: list[Threshold]


class Nearest(Model):
    """The nearest image of the other side by one view."""

    id: Id
    name: str
    distance: float
    mirrored: bool = Field(description="the flipped image was the nearer one")
    blank: bool = Field(description="the view saw nothing in one of the two: the distance is no evidence")


class Decision(Model):
    """What the primary method says of a real image."""

    method: str
    value: float | None
    threshold: float | None
    p_value: float | None
    q_value: float | None
    probability: float | None
    answer: str | None


class Image(Model):
    """One image of a run."""

    id: Id
    role: Role
    name: str
    frame: int
    group: str | None
    membership: Membership | None = Field(description="null for generated images")
    blank: list[str] = Field(description="views that saw nothing in it")
    width: int
    height: int
    nearest: dict[str, Nearest] = Field(
        description="view -> nearest; 'matched': after pairs were compared closely, and if asked for the combined where none was"
    )
    decision: Decision | None
    match: float | None = Field(description="largest match value of its verified pairs; larger: more surely the same picture")
    review: ReviewLabel | None = Field(description="of the image and its nearest by the view asked for")


class Images(Model):
    """A piece of a list of images."""

    run: int
    view: str
    total: int = Field(description="images that fit, all pieces together")
    images: list[Image]


class Neighbour(Nearest):
    """One of the nearest images of the other side."""

    view: str
    rank: int
    unit: str


class Neighbours(Model):
    """The nearest images of one, by view and rank."""

    run: int
    id: Id
    neighbours: list[Neighbour]


class Place(Model):
    """Where a distance stands among others."""

    of_all_pairs: float | None = Field(description="share of all pairs at least so near")
    of_reference: float | None = Field(description="share of real images known not to be used whose nearest is at least so near")
    reference: int = Field(description="number of those images, without those of this image's group")


class PairDistance(Model):
    """A pair's distance by one view; null where the run did not keep it."""

    distance: float | None
    unit: str
    short_unit: str
    mirrored: bool | None
    blank: bool
    place: Place


class MatchInfo(Model):
    """How the real image can be laid over the generated one; null where no model was found."""

    value: float | None = Field(
        description="inliers over what is usual for the generated image; larger: more surely the same picture; null: not kept"
    )
    threshold: float | None = Field(description="of the run: a value above stands out")
    calibrated: bool = Field(description="there is a threshold")
    note: str = Field(description="what the threshold is, or that there is none")
    matches: int
    inliers: int
    inlier_ratio: float
    area: float | None
    residual: float | None
    correlation: float | None
    ssim: float | None
    tiles: list[list[float | None]] = Field(description="4 x 4, correlation by tile of the generated image")
    ssim_tiles: list[list[float | None]] = Field(description="4 x 4, structural similarity by tile of the generated image")
    quarter_turns: int
    mirrored: bool
    transform: list[list[float]] | None = Field(description="2 x 3, from pixels of the real image to pixels of the generated one")
    points: list[list[float]] = Field(description="x, y in the real image, x, y in the generated one, of each inlier")


class Review(Model):
    """What a person thinks of a pair."""

    review: ReviewLabel
    note: str = Field(default="", max_length=NOTE_LENGTH)


class Pair(Model):
    """A real and a generated image."""

    run: int
    real: Image
    generated: Image
    distances: dict[str, PairDistance]
    match: MatchInfo
    review: Review | None


class Hit(Model):
    """One image of the collection that is near to an uploaded one."""

    view: str
    rank: int
    id: Id | None = Field(description="null where the run did not compare this collection")
    name: str
    distance: float
    unit: str
    mirrored: bool
    blank: bool
    places: int | None = Field(description="matching places that fit one model, where verify was asked for; not calibrated")


class Hits(Model):
    """What a search found, by view and rank."""

    hits: list[Hit]
    width: int
    height: int
    frames: int = Field(description="2: the file holds more frames than the first, which alone was looked up")
    seconds: float


class AnalysisInfo(Model):
    """A named analysis; null for the parameter run is the latest."""

    name: str
    question: str
    parameters: dict[str, int | float | str | None]


class Analyses(Model):
    """All named analyses."""

    analyses: list[AnalysisInfo]


class Parameters(Model):
    """Of an analysis."""

    parameters: dict[str, int | float | str] = Field(default_factory=dict)


class Question(Model):
    """One SELECT."""

    query: str = Field(min_length=1, max_length=100_000)


class Column(Model):
    """Of a table."""

    name: str
    type: str


class Table(Model):
    """What a query gave."""

    columns: list[Column]
    rows: list[list[Any]]
    truncated: bool = Field(description="there were more rows than are shown")
    seconds: float


class KeptReview(Review):
    """A review with its pair; ids are null for images that the run does not hold."""

    real_id: Id | None
    generated_id: Id | None
    real: str
    generated: str
    time: str = Field(description="UTC, ISO 8601")


class Reviews(Model):
    """All reviews, the latest last."""

    run: int
    reviews: list[KeptReview]


class Session(Model):
    """The token, once."""

    token: str = Field(max_length=1000)


class Opened(Model):
    """What a browser sends in place of the token, as `Authorization: Bearer SESSION`, until the service ends."""

    session: str
