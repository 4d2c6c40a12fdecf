"""Evaluate a run's predictions against labels: metrics beside their baselines, into the database and figures.

Only predictions that did not see the label are evaluated: role ``unlabelled`` or ``cross-fitted``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embeddings.files.reading import parse_json
from embeddings.files.writing import make_folder
from embeddings.images.decode import decode
from embeddings.images.decoding import Decoding
from embeddings.images.errors import Altered, ImageError, NoImages, printable
from embeddings.images.find import find
from embeddings.types import GreyImage
from query.database.labelled_predictions import (
    EvaluationError,
    LabelledPredictions,
    described,
    groups_said,
    known_labels,
    labelled_predictions,
    ordered,
)
from query.database.record import known_groups
from query.database.store import Store, write_table
from query.evaluation import controls, ranking, reliability
from query.evaluation.classification import (
    AUROC,
    all_used,
    by_chance,
    counts,
    measure_intervals,
    measures,
    paired_differences,
    permutation_p_values,
)
from query.evaluation.resampling import DRAWS, Interval, grouped_proportion

if TYPE_CHECKING:
    from query.report.figures.curves import Curve

UNDECIDED = "undecided"
GREY_LEVELS = "grey-levels"  # stands for the intensity control where a method's name is asked for

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        run: its number.
        database: path of the file.
        facts: JSON-able; ``labels``, ``groups``, ``methods``, ``differences``, ``controls`` and ``notes``.
        judged: by method, for figures.
        detail: by method, what it told about itself, for figures.
    """

    run: int
    database: str
    facts: Mapping[str, Any]
    judged: Mapping[str, LabelledPredictions] = field(repr=False)
    detail: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {"run": self.run, "database": self.database, **self.facts}


def evaluate(
    store: Store,
    *,
    run: int | None = None,
    labels: Mapping[str, bool] | None = None,
    methods: Sequence[str] = (),
    with_controls: bool = False,
    real: Path | None = None,
    draws: int = DRAWS,
    say: Say = lambda line: None,
) -> Evaluation:
    """Judge the decisions of a run, and put the metrics in place of earlier ones of that run.

    Args:
        store: open for writing.
        run: its number, the latest finished one for None.
        labels: name of a real image -> whether it was used; None for the labels that the run knew.
        methods: to judge, all for none; the others are compared with the first.
        with_controls: also run `query.evaluation.controls`.
        real: folder of the real images for the control that looks at pixels; None for where they were.
        draws: resamples of groups, and permutations of labels.
        say: told what is being done.

    Raises:
        EvaluationError: no labels, no decisions, or none that did not see the labels.
        LabelsError: a label names an image that is not among the real ones.
        StoreError: there is no such run, or the database refuses.
    """
    number = store.known_run(run)
    known, groups, note = known_labels(store, number, labels), known_groups(store, number), described(store, number)
    judged = labelled_predictions(store, number, known, groups, ordered(store, number, methods, note))
    able = {name: found for name, found in judged.items() if len(found.predicted)}
    if not able:
        raise EvaluationError(f"{store.path}: run {number} holds no decision on a labelled image that did not see its label")
    facts: dict[str, Any] = {
        "labels": {"used": sum(known.values()), "not_used": len(known) - sum(known.values())},
        "groups": {"known": any(not group.startswith("alone") for group in groups.values()), "note": groups_said(groups, known)},
        "methods": {},
    }
    for name, found in able.items():
        say(f"judging {name}")
        facts["methods"][name] = {
            **{key: note.get(name, {}).get(key) for key in ("calibrated", "note")},
            **_measured(found, draws),
        }
    facts["differences"] = _differences(able, draws)
    facts["controls"] = _controls(store, number, able, known, groups, real) if with_controls else None
    facts["notes"] = [_not_evaluated(name, judged[name]) for name in judged if name not in able] + _notes(able)
    store.replace(number, {"metrics": _table(facts, _of_the_filter(store, number))})
    return Evaluation(number, store.path, facts, able, {name: note.get(name, {}).get("detail", {}) for name in able})


# What is measured


def _measured(found: LabelledPredictions, draws: int) -> dict[str, Any]:
    """All figures of a method, JSON-able; see `_plain` for NaN."""
    table = counts(found.predicted, found.used)
    chance, everyone = measures(by_chance(table)), measures(all_used(table))
    p_values = permutation_p_values(found.values, found.predicted, found.used, found.groups, draws=draws)
    measured = {
        str(name): {
            **_interval(interval),
            "by_chance": _plain(chance[name]),
            "all_used": _plain(everyone[name]),
            "p_value": _plain(p_values.get(str(name), np.nan)),
        }
        for name, interval in measure_intervals(found.predicted, found.used, found.groups, draws=draws).items()
    }
    return {
        "images": len(found.predicted),
        "used": int(found.used.sum()),
        "not_used": int((~found.used).sum()),
        "counts": {name: int(np.asarray(value)) for name, value in asdict(table).items()},
        "undecided": int(np.sum(found.answers == UNDECIDED)),
        "false_discoveries": _false_discoveries(found, draws),
        "unanswered": {"used": found.unanswered[0], "not_used": found.unanswered[1]},
        "seen": found.seen,
        "measures": measured,
        **_ranked(found, p_values, draws),
        **_probable(found, draws),
    }


def _false_discoveries(found: LabelledPredictions, draws: int) -> dict[str, Any] | None:
    """Share of images not used among those answered "used" by a method that may stay undecided; None without answers."""
    if not (found.answers != "").any():
        return None
    called = found.answers == "used"
    share = grouped_proportion(~found.used[called], found.groups[called], draws=draws)
    return {**_interval(share), "images": int(called.sum()), "by_chance": float((~found.used).mean())}


def _ranked(found: LabelledPredictions, p_values: Mapping[str, float], draws: int) -> dict[str, Any]:
    """Figures of the values; None where there are none."""
    if found.values is None:
        return {AUROC: None, "partial_auroc": None, "true_rates": []}
    known = found.values, found.used, found.groups
    area, part = ranking.auroc_interval(*known), ranking.partial_interval(*known, draws=draws)
    rates = [ranking.true_rate(*known, asked, draws=draws) for asked in ranking.RATES]
    return {
        AUROC: {**_interval(area), "by_chance": 0.5, "p_value": _plain(p_values[AUROC])},
        "partial_auroc": {**_interval(part), "by_chance": 0.5, "max_false": ranking.MAX_FALSE},
        "true_rates": [
            {
                "asked": rate.asked,
                **_interval(rate.found),
                "false": _plain(rate.false),
                "by_chance": rate.asked,
                "reason": rate.reason,
            }
            for rate in rates
        ],
    }


def _probable(found: LabelledPredictions, draws: int) -> dict[str, Any]:
    """Figures of P(used); None where it is not available."""
    if found.probability is None:
        return {"brier": None, "reliability": None}
    score = reliability.brier(found.probability, found.used, found.groups, draws=draws)
    bins = reliability.reliability(found.probability, found.used, found.groups)
    return {
        "brier": {**_interval(score), "of_share": reliability.brier_of_share(found.used)},
        "reliability": [
            {**{k: getattr(b, k) for k in ("low", "high", "images", "mean")}, "used": _interval(b.used)} for b in bins
        ],
    }


def _differences(judged: Mapping[str, LabelledPredictions], draws: int) -> dict[str, Any] | None:
    """The first method against each of the others, on the images that both judged."""
    first, *others = judged.values()
    found = {}
    for other in others:
        _, mine, theirs = np.intersect1d(first.images, other.images, return_indices=True)
        scores = [None if side.values is None else side.values[rows] for side, rows in ((first, mine), (other, theirs))]
        decided = [first.predicted[mine], other.predicted[theirs]]
        made = paired_differences(scores, decided, first.used[mine], first.groups[mine], draws=draws)
        found[other.method] = {"images": len(mine), **{name: _interval(each) for name, each in made.items()}}
    return {"of": first.method, "minus": found} if found else None


def _controls(
    store: Store,
    run: int,
    judged: Mapping[str, LabelledPredictions],
    known: Mapping[int, bool],
    groups: Mapping[int, str],
    real: Path | None,
) -> dict[str, Any]:
    spreads = {}
    for name, found in judged.items():
        if found.values is not None:
            how = found.values, found.used, found.groups
            made = [controls.shuffled(*how), controls.halves(*how, True), controls.halves(*how, False)]
            spreads[name] = [{key: _plain(value) for key, value in asdict(spread).items()} for spread in made]
    images = sorted(known)
    try:
        features = controls.intensity_features(_pixels(store, run, images, real))
    except (NoImages, ImageError, OSError, EvaluationError) as error:
        grey: dict[str, Any] = {"area": None, "p_value": None, "reason": f"{error}; give --real FOLDER"}
    else:
        made_of = controls.intensity(features, np.array([known[i] for i in images]), np.array([groups[i] for i in images]))
        grey = {"area": _interval(made_of.area), "p_value": _plain(made_of.p_value), "reason": made_of.reason}
    return {"spreads": spreads, GREY_LEVELS: grey}


def _pixels(store: Store, run: int, images: Sequence[int], real: Path | None) -> Iterator[GreyImage]:
    """The pixels of these images, from their files, which must be what they were.

    Raises:
        EvaluationError: a file is missing or was changed.
        NoImages: the folder is not there.
        ImageError: a file cannot be decoded any more.
    """
    (described_run,) = store.sql("SELECT real_source, settings FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    source, decoding = described_run["real_source"], Decoding(**parse_json(described_run["settings"]).get("decoding", {}))
    found = find(real or source)
    files = {printable(name): found.root / name for name in found.files}
    about = "SELECT image_id, path, frame, sha256 FROM images WHERE run_id = $run AND role = 'real'"
    rows = {row["image_id"]: row for row in store.sql(about, {"run": run}).to_pylist()}
    for path, of in groupby((rows[image] for image in images), key=lambda row: str(row["path"])):
        wanted = list(of)
        if path not in files:
            raise EvaluationError(f"{real or source}: {path} is not there")
        try:
            frames = {number: frame.pixels for number, frame in enumerate(decode(files[path], decoding, wanted[0]["sha256"]))}
        except Altered as error:
            raise EvaluationError(f"{real or source}: {path}: {error}") from error
        yield from (frames[row["frame"]] for row in wanted)


def _not_evaluated(name: str, found: LabelledPredictions) -> str:
    if found.seen:
        return f"{name} is not evaluated: it saw the labels of all images that it answers, or does not say that it did not"
    return f"{name} is not evaluated: it answers for no labelled image"


def _notes(judged: Mapping[str, LabelledPredictions]) -> list[str]:
    """What must be known to read the figures."""
    notes = [
        f"{name}: {found.seen:,} labelled images are left out, because it saw their labels"
        for name, found in judged.items()
        if found.seen
    ]
    notes += [f"{name}: no AUROC, since some images have no value" for name, found in judged.items() if found.values is None]
    few = [name for name, found in judged.items() if min(found.used.sum(), (~found.used).sum()) < 10]
    notes += [f"{', '.join(few)}: fewer than 10 images of a kind, so the numbers say next to nothing"] if few else []
    return notes


# Where it goes


def _of_the_filter(store: Store, run: int) -> list[tuple[Any, ...]]:
    """Rows of table metrics that are not of methods, and stay."""
    query = "SELECT method, metric, value, low, high FROM metrics WHERE run_id = $run AND starts_with(method, 'leakage ')"
    return [tuple(row.values()) for row in store.sql(query, {"run": run}).to_pylist()]


def _table(facts: Mapping[str, Any], more: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Rows of table metrics."""
    rows = [*more] + [(name, *row) for name, found in facts["methods"].items() for row in _rows(found)]
    if differences := facts["differences"]:
        for other, found in differences["minus"].items():
            for measure in [key for key in found if key != "images"]:
                rows.append((differences["of"], f"{measure}:minus:{other}", *_ends(found[measure])))
    if made := facts["controls"]:
        for name, spreads in made["spreads"].items():
            rows += [(name, f"control:{each['control']}", each["mean"], each["low"], each["high"]) for each in spreads]
        if made[GREY_LEVELS]["area"]:
            rows.append((GREY_LEVELS, AUROC, *_ends(made[GREY_LEVELS]["area"])))
            rows.append((GREY_LEVELS, f"{AUROC}:p_value", made[GREY_LEVELS]["p_value"], None, None))
    return dict(zip(("method", "metric", "value", "low", "high"), map(list, zip(*rows, strict=True)), strict=True))


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, float | None, float | None, float | None]]:
    """metric, value, low, high; what stands beside a metric is ``metric:by_chance`` and the like."""
    named = {**found["measures"], AUROC: found[AUROC], "partial_auroc": found["partial_auroc"], "brier": found["brier"]}
    named["false_discoveries"] = found["false_discoveries"]
    named |= {f"tpr_at_{rate['asked']:g}": rate for rate in found["true_rates"]}
    for name, figure in named.items():
        if figure:
            yield name, *_ends(figure)
            for beside in ("by_chance", "all_used", "p_value", "false", "of_share"):
                if beside in figure:
                    yield f"{name}:{beside}", figure[beside], None, None
    whole = {**found["counts"], **{key: found[key] for key in ("images", "undecided", "seen")}}
    whole |= {"unanswered": sum(found["unanswered"].values())}
    yield from ((name, float(count), None, None) for name, count in whole.items())


def _ends(found: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return found["value"], found["low"], found["high"]


def _interval(found: Interval) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(found).items() if name in ("value", "low", "high", "groups")}


def _plain(value: Any) -> Any:
    """Without NaN, which JSON and SQL know no better than NULL."""
    if isinstance(value, float | np.ndarray | np.floating):
        return float(value) if isfinite(value) else None
    return value


def write_files(found: Evaluation, store: Store, folder: Path) -> list[Path]:
    """`metrics.csv`, `metrics.json` and the figures, all readable for their owner only; what was written.

    Args:
        found: what `evaluate` gave.
        store: the same.
        folder: made where it is missing.
    """
    from query.report.figures import curves

    make_folder(folder)
    table = store.analyse("metrics", run=found.run)
    written = [folder / "metrics.csv", folder / "metrics.json"]
    for path in written:
        write_table(table, path)
    scored = {name: judged for name, judged in found.judged.items() if judged.values is not None}
    written += curves.roc_plot(folder, [_curve(judged) for judged in scored.values() if 0 < judged.used.sum() < len(judged.used)])
    for name, judged in found.judged.items():
        written += _figures(folder, judged, found.detail[name])
    return written


def _curve(judged: LabelledPredictions) -> "Curve":
    from query.report.figures.curves import Curve

    assert judged.values is not None
    area = ranking.auroc_interval(judged.values, judged.used, judged.groups)
    return Curve(judged.method, *ranking.roc(judged.values, judged.used), area)


def _figures(folder: Path, judged: LabelledPredictions, detail: Mapping[str, Any]) -> list[Path]:
    """The figures of one method."""
    from query.report.figures import curves

    written = []
    if judged.values is not None:
        parts = {"used": judged.values[judged.used], "not used": judged.values[~judged.used], "reference": judged.reference}
        written += curves.distribution_plot(folder, judged.method, parts, judged.threshold)
    if judged.probability is not None:
        bins = reliability.reliability(judged.probability, judged.used, judged.groups)
        brier = reliability.brier(judged.probability, judged.used, judged.groups)
        written += curves.reliability_plot(folder, judged.method, bins, brier)
    if {"linkage", "leaves"} <= detail.keys():
        written += curves.dendrogram_plot(folder, judged.method, detail["linkage"], detail["leaves"], detail.get("cophenetic"))
    return written
