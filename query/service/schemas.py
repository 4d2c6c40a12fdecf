"""JSON schemas of requests and responses. Undefined numbers are null; images are named by their ids in a run."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from query.inputs.reviews import NOTE_LENGTH, ReviewLabel

Id = Annotated[int, Field(ge=0, description="image_id in the run")]


class Role(StrEnum):
    """Side of a run."""

    REAL = "real"
    GENERATED = "generated"


class Membership(StrEnum):
    """Known membership of a real image."""

    USED = "used"
    NOT_USED = "not used"
    UNLABELLED = "unlabelled"


class Wanted(StrEnum):
    """Filter by review label; `none` selects pairs without a review."""

    COPY = "copy"
    SIMILAR = "similar"
    UNRELATED = "unrelated"
    NONE = "none"


class Sort(StrEnum):
    """Sort key of a list of images; undefined values come last."""

    NAME = "name"
    DISTANCE = "distance"
    VALUE = "value"
    P_VALUE = "p_value"
    PROBABILITY = "probability_high"
    Q_VALUE = "q_value"
    MATCH = "match"
    GROUP = "group"
    MEMBERSHIP = "membership"
    ANSWER = "answer"
    REVIEW = "review"


class Order(StrEnum):
    """Sort order."""

    ASC = "asc"
    DESC = "desc"


class Model(BaseModel):
    """Base class of requests and responses."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Model):
    """Reason of a failed request."""

    status: int
    code: str = Field(description="error code for programs")
    reason: str = Field(description="one-line message for people")


class Failure(Model):
    """Error response."""

    error: Problem


class Living(Model):
    """Liveness: the process responds."""

    status: str


class Ready(Model):
    """Readiness: the service can answer all requests that it was started for."""

    status: str
    run: int | None = Field(description="the latest finished run; null without a database")


class View(Model):
    """A view of a collection or a run."""

    view: str
    metric: str
    dim: int
    unit: str = Field(description="long form, for an axis")
    short_unit: str = Field(description="bits, sd or empty, to follow a number")
    note: str = Field(description="caveat for readers, e.g. that a network was not trained")


class CollectionInfo(Model):
    """The collection that uploaded images are searched in."""

    name: str
    images: int
    failed: int
    views: list[View]
    run: int | None = Field(description="the latest run if it compared exactly these images; hits have ids only then")
    note: str


class Collections(Model):
    """The searched collections (always one)."""

    collections: list[CollectionInfo]


class RunShort(Model):
    """Short description of a finished run."""

    run: int
    created: str = Field(description="UTC, ISO 8601")
    command: str
    real_images: int
    generated_images: int


class Runs(Model):
    """Finished runs, the latest first."""

    runs: list[RunShort]


class Labels(Model):
    """Number of real images by known membership."""

    used: int
    not_used: int
    unlabelled: int


class Method(Model):
    """A prediction method of a run."""

    method: str
    primary: bool = Field(description="the method whose decisions are reported")
    calibrated: bool = Field(description="whether images of known membership calibrated its threshold")
    note: str = Field(description="origin of its threshold")
    answers: dict[str, int] = Field(description="decision -> number of real images")


class MatchReference(Model):
    """Calibration of a run's match values."""

    threshold: float | None = Field(description="match value above which a pair stands out; null without control images")
    level: float | None = Field(description="share of images that are no copies above it at most; null if groups are unknown")
    controls: int = Field(description="control images: real images matched with those of other groups")
    control_groups: int | None = Field(description="patients (groups) of the control images; null if unknown")
    pairs: int = Field(description="pairs matched in the run")
    generated_images: int = Field(description="generated images matched in the run")
    note: str


class Said(Model):
    """A sentence that says one thing, and what belongs to it."""

    note: str
    more: str


class RunInfo(Model):
    """Inputs, settings and views of a run."""

    run: int
    created: str
    command: str
    k: int
    mirror: bool
    copies: list[str] = Field(description="exact and near-exact copies, in words; empty if they were not looked for")
    memorisation: list[str] = Field(description="share of generated images that copy a real one, in words")
    answer: list[Said] = Field(description="the set and its patients, in words; empty if no primary method predicted")
    warnings: list[str] = Field(description="what makes all results doubtful: a side that is turned, patients on both sides")
    images: dict[Role, int]
    failures: dict[Role, int] = Field(description="files that could not be read")
    distances: str = Field(description="all: distances of all pairs are stored; histogram: nearest neighbours and a histogram")
    settings: dict[str, Any]
    versions: dict[str, Any]
    views: list[View]
    labels: Labels
    methods: list[Method]
    matched_pairs: int = Field(description="number of pairs matched geometrically in the run")
    match: MatchReference | None = Field(description="null if no pair was matched")


class Threshold(Model):
    """A reference distance to mark on the axis."""

    name: str
    value: float
    note: str


class Distances(Model):
    """Distances in one view: a histogram over all pairs, and each image's distance to its nearest neighbour."""

    run: int
    view: str
    unit: str
    short_unit: str
    edges: list[float] = Field(description="bin edges, one more than counts; edges[i] <= distance < edges[i + 1]")
    counts: list[int] = Field(description="number of pairs in each bin (exact)")
    nearest: dict[str, list[float]] = Field(
        description="sorted nearest-neighbour distances: of generated images, and of used, not used and unlabelled real images"
    )
    thresholds: list[Threshold]


class Nearest(Model):
    """Nearest image of the other side in one view."""

    id: Id
    name: str
    distance: float
    mirrored: bool = Field(description="whether the left-right flipped image was nearer")
    blank: bool = Field(description="whether one of the two is blank in this view: the distance is no evidence")


class Decision(Model):
    """Prediction of the primary method for a real image."""

    method: str
    value: float | None
    threshold: float | None
    p_value: float | None
    q_value: float | None = Field(description="of the image's patient")
    probability_low: float | None = Field(description="P(used) at the lowest prior")
    probability_high: float | None = Field(description="P(used) at the highest prior")
    answer: str | None = Field(description="used, patient used, no trace found or undecided; none of them clears the image")


class Patient(Model):
    """Decision of the primary method on a patient."""

    patient: str = Field(description="the group of its images, or the name of an image without a group")
    nearest_id: Id = Field(description="its image that lies nearest to the generated ones")
    nearest_image: str
    generated_id: Id | None = Field(description="generated image nearest to that, by the combined view")
    images: int = Field(description="images that the p-value stands on")
    role: str = Field(description="unlabelled, or cross-fitted: labelled, and tested without its own label")
    p_value: float
    q_value: float
    decision: str = Field(description="used, no trace found or undecided; no trace found clears nobody")


class Patients(Model):
    """One page of the patients of a run, the smallest p first."""

    run: int
    method: str | None = Field(description="the primary method; null if the run has none")
    total: int = Field(description="number of matching patients on all pages")
    patients: list[Patient]


class Image(Model):
    """One image of a run."""

    id: Id
    role: Role
    name: str
    frame: int
    group: str | None
    membership: Membership | None = Field(description="null for generated images")
    blank: list[str] = Field(description="views in which the image is blank")
    width: int
    height: int
    nearest: dict[str, Nearest] = Field(
        description="view -> nearest image; 'matched': the combined view, after geometric matching if a pair was matched"
    )
    decision: Decision | None
    match: float | None = Field(description="largest match value of its pairs; larger: more certainly the same picture")
    review: ReviewLabel | None = Field(description="review of the image and its nearest neighbour in the requested view")


class Images(Model):
    """One page of a list of images."""

    run: int
    view: str
    total: int = Field(description="number of matching images on all pages")
    images: list[Image]


class Neighbour(Nearest):
    """A nearest neighbour on the other side."""

    view: str
    rank: int
    unit: str


class Neighbours(Model):
    """Nearest neighbours of an image, by view and rank."""

    run: int
    id: Id
    neighbours: list[Neighbour]


class Place(Model):
    """Rank of a distance among others."""

    of_all_pairs: float | None = Field(description="share of all pairs at this distance or nearer")
    of_reference: float | None = Field(
        description="share of reference images (known not used) with a neighbour this near or nearer"
    )
    reference: int = Field(description="number of reference images, without those of this image's group")


class PairDistance(Model):
    """Distance of a pair in one view; null if the run did not store it."""

    distance: float | None
    unit: str
    short_unit: str
    mirrored: bool | None
    blank: bool
    place: Place


class MatchInfo(Model):
    """Geometric match of a pair; null where no transform was found."""

    value: float | None = Field(description="inliers relative to what is usual for the generated image; null if not stored")
    threshold: float | None = Field(description="threshold of the run for match values")
    calibrated: bool = Field(description="whether the threshold is calibrated: patients (groups) are known")
    note: str = Field(description="origin of the threshold")
    matches: int
    inliers: int
    inlier_ratio: float
    area: float | None
    residual: float | None
    correlation: float | None
    ssim: float | None
    tiles: list[list[float | None]] = Field(description="4 x 4 correlations, one per tile of the generated image")
    ssim_tiles: list[list[float | None]] = Field(description="4 x 4 structural similarities, one per tile of the generated image")
    quarter_turns: int
    mirrored: bool
    transform: list[list[float]] | None = Field(
        description="2 x 3 affine transform from pixels of the real image to pixels of the generated one"
    )
    points: list[list[float]] = Field(description="for each inlier x, y in the real image and x, y in the generated one")


class Review(Model):
    """Review of a pair by a person."""

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
    """Image of the collection near an uploaded image."""

    view: str
    rank: int
    id: Id | None = Field(description="null if the latest run did not compare this collection")
    name: str
    distance: float
    unit: str
    mirrored: bool
    blank: bool
    inliers: int | None = Field(description="inliers of the geometric match, if match was requested; not calibrated")


class Hits(Model):
    """Search results, by view and rank."""

    hits: list[Hit]
    width: int
    height: int
    frames: int = Field(description="2 if the file has several frames; only the first is searched")
    seconds: float


class AnalysisInfo(Model):
    """A named analysis; the parameter `run` defaults to null, the latest run."""

    name: str
    question: str
    parameters: dict[str, int | float | str | None]


class Analyses(Model):
    """The named analyses."""

    analyses: list[AnalysisInfo]


class Parameters(Model):
    """Parameters of an analysis."""

    parameters: dict[str, int | float | str] = Field(default_factory=dict)


class Question(Model):
    """An SQL query: one SELECT."""

    query: str = Field(min_length=1, max_length=100_000)


class Column(Model):
    """Column of a table."""

    name: str
    type: str


class Table(Model):
    """Result of a query."""

    columns: list[Column]
    rows: list[list[Any]]
    truncated: bool = Field(description="whether rows were left out")
    seconds: float


class KeptReview(Review):
    """A review with its pair; ids are null for images that are not in the run."""

    real_id: Id | None
    generated_id: Id | None
    real: str
    generated: str
    time: str = Field(description="UTC, ISO 8601")


class Reviews(Model):
    """All reviews, the latest last."""

    run: int
    reviews: list[KeptReview]


class Mode(Model):
    """Whether labels, scores, names and decisions are hidden from readers, and whether there is a database."""

    blinded: bool
    reader: str | None = Field(
        description="the only reader, named when the service was started; null if readers give their names"
    )
    database: bool = Field(description="false if images are only looked up: all else that needs a database is answered by 409")


class NewReader(Model):
    """A reader who begins, or goes on with the code given then."""

    reader: str = Field(min_length=1, max_length=200)
    code: str = Field(default="", max_length=100)


class Begun(Model):
    """A reader, and the code that this reader's requests carry as header Synthtrace-Reader."""

    reader: str
    code: str


class Side(StrEnum):
    """A picture of a blinded pair; which of them is the real one is drawn for each pair and reader."""

    A = "a"
    B = "b"


class BlindedPairs(Model):
    """The reader's own labels, by place in the reader's own order; null where there is none."""

    reader: str
    total: int
    labels: list[ReviewLabel | None]


class BlindedPair(Model):
    """A pair as a blinded reader may know it: its place, and the reader's own review."""

    place: int
    review: Review | None


class ReaderLabels(Model):
    """Labels of one blinded reader."""

    reader: str
    labels: dict[ReviewLabel, int]


class ReaderAgreement(Model):
    """How far readers agree: 1 fully, 0 as by chance; null where all labels are the same, or there are none."""

    coefficient: str = Field(description="Cohen's kappa, Fleiss' kappa or Krippendorff's alpha (nominal)")
    readers: list[str]
    pairs: int
    value: float | None
    low: float | None = Field(description="95% interval, by patients (groups)")
    high: float | None


class ReadByReaders(Model):
    """A pair that blinded readers labelled."""

    real_id: Id
    generated_id: Id
    real: str
    generated: str
    labels: dict[str, ReviewLabel] = Field(description="reader -> label")


class Readers(Model):
    """What blinded readers say of the pairs of a run."""

    run: int
    patients: int
    readers: list[ReaderLabels]
    agreements: list[ReaderAgreement]
    words: list[str] = Field(description="the agreement, a line each")
    pairs: list[ReadByReaders]


class Session(Model):
    """Login with the access token."""

    token: str = Field(max_length=1000)


class Opened(Model):
    """Session that replaces the token in `Authorization: Bearer SESSION` until the service stops."""

    session: str
