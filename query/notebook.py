"""The API for notebooks: `compare` two collections into a `Run`, `match` its pairs, `predict` which real images were used."""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.images.errors import ImageError
from embeddings.types import GreyImage
from indexer.build.build import Progress
from indexer.collection import Collection
from indexer.hits import positive
from indexer.notebook import escaped, in_cells, picture, table
from indexer.sharded.collection import ShardedCollection
from indexer.sharded.joined import Joined
from query.comparison.combined import COMBINED
from query.comparison.comparison import Comparison
from query.comparison.comparison import compare as compare_sides
from query.comparison.copies import Copies, find_copies
from query.comparison.matching import Budget, Matches, MatchSettings, match
from query.comparison.search import K, ViewResult
from query.comparison.subsets import LEAST, Origins, Prior, SubsetSettings, SubsetVotes
from query.comparison.subsets import attribute as attribute_subsets
from query.inputs.contamination import SETTING, NearDuplicates, Side, contamination_of_labels, warned
from query.inputs.groups import Groups, as_given, group
from query.inputs.images import Images
from query.inputs.labels import labels_by_row, read_labels
from query.inputs.seen import see_images
from query.inputs.sides import sides_of
from query.inputs.subsets import origins_by_row, read_subsets, subsets_by_row
from query.inputs.tables import AS_FOUND
from query.leakage.leakage import LeakageSets
from query.leakage.primary import PRIMARIES
from query.leakage.sets import LeakageOfSets, groups_of_sets, leakage_of_sets
from query.membership.cross_fit import Prediction
from query.membership.methods.registry import QUICK, make_method
from query.membership.predict import PredictionRequest, Predictions, case_of, chosen, predict_requested
from query.membership.proximity import planned
from query.report.text.numbers import number
from query.report.text.patients import CLEARS_NOBODY
from query.report.text.predictions import answer_lines

SHOWN = 10  # pairs, and predictions, in a notebook


class ShownPredictions(Predictions):
    """Predictions that a notebook shows."""

    def _repr_html_(self) -> str:
        """The answer in words, then the images with the smallest p of the primary method; without p the largest values first."""
        said = "".join(f"<p>{escaped(line)}</p>" for line in (repr(self), *answer_lines(self)))
        if not self.methods:
            return said + "".join(f"<p>{escaped(line)}</p>" for line in self.refused)
        first = next((each for each in self.methods if each.whole or each.patients), self.methods[0])
        keys = np.nan_to_num(-first.value, nan=np.inf), np.nan_to_num(first.p, nan=np.inf)
        rows = [self._row(first, row) for row in np.lexsort(keys)[:SHOWN].tolist()]
        head = ["real image", "answer", f"value of {first.method} (larger: more like used)", "p", "q of the patient", "P(used)"]
        shown = f"{len(rows):,} of {len(self.names):,} real images, the smallest p first. {CLEARS_NOBODY}"
        return f"{said}<p>{escaped(shown)}</p>" + table(head, rows)

    def _row(self, found: Prediction, row: int) -> list[str]:
        answer = found.decision[row] or ("predicted used" if found.used[row] else "-")
        figures = [number(each[row], ".3g") for each in (found.value, found.p, found.q)]
        chances = " to ".join(number(each[row]) for each in (found.probability_low, found.probability_high))
        return [escaped(self.names[row]), escaped(str(answer)), *figures, chances]


@dataclass(frozen=True, repr=False)
class Run:
    """Real images compared with generated ones.

    Attributes:
        comparison: neighbours in both directions, scores and histograms of every view.
        groups: which real images belong together: patients, or near-duplicates where patients are unknown.
        measured: what the methods that `predict` uses by default measure of the pairs, see `query.membership.proximity`.
    """

    comparison: Comparison
    groups: Groups
    measured: Mapping[Hashable, Any] = field(default_factory=dict)

    @property
    def views(self) -> Mapping[str, ViewResult]:
        """View -> what it found; ``combined`` is all of them together."""
        return self.comparison.views

    def __repr__(self) -> str:
        sides = self.comparison.sides
        return f"Run({len(sides.real):,} real images, {len(sides.generated):,} generated images; {', '.join(self.views)})"

    def _repr_html_(self) -> str:
        """The closest pairs, each real image once, with pictures where the files can be read."""
        sides, view = self.comparison.sides, COMBINED if COMBINED in self.views else next(iter(self.views))
        nearest = self.views[view].real
        order = np.argsort(nearest.distances[:, 0], kind="stable")[:SHOWN].tolist()
        rows = []
        for real in order:
            generated = int(nearest.rows[real, 0])
            pair = (sides.real, real), (sides.generated, generated)
            cells = [f"{picture(_pixels(images, row))}<br>{escaped(images.names[row])}" for images, row in pair if row >= 0]
            rows.append([*cells, f"{nearest.distances[real, 0]:.4g}"])
        return f"<p>{escaped(repr(self))}</p>" + table(["real", "nearest generated", f"distance ({view})"], rows)

    def match(
        self,
        budget: str = "all",
        *,
        candidates: int = MatchSettings.candidates,
        rotations: bool = False,
        progress: Progress = in_cells,
    ) -> Matches:
        """Verify the candidate pairs of all views geometrically.

        Args:
            budget: ``all``, a number of generated images, or a time such as ``90s`` or ``2m``.
            candidates: real images proposed for each generated one.
            rotations: look for copies by quarter turns.
            progress: called with stage, done, total; by default a bar in notebooks.

        Raises:
            ValueError: the budget is none of these.
        """
        settings = MatchSettings(Budget.parse(budget), candidates, rotations)
        return match(self.comparison, self.groups, settings, progress=progress)

    def copies(self, matches: Matches | None = None, *, rotations: bool = False, progress: Progress = in_cells) -> Copies:
        """Find generated images that are exact or near-exact copies of real ones: evidence by itself, whatever the reference.

        Args:
            matches: of `match`; its pairs are looked at too.
            rotations: look for copies by quarter turns too.
            progress: called with stage, done, total; by default a bar in notebooks.
        """
        return find_copies(self.comparison, self.groups.of_row, matches, rotations=rotations, progress=progress)

    def attribute(
        self,
        subsets: str | Path | Mapping[str, str],
        labels: str | Path | Mapping[str, str] | None = None,
        *,
        matches: Matches | None = None,
        prior: str = Prior.EQUAL,
        least: float = LEAST,
        seed: int = 0,
    ) -> SubsetVotes:
        """From which subset of the real images did each generated image come?

        Args:
            subsets: of the real images: ``folder`` (the first folder of each name), a CSV of image,subset, a regular expression
                on names, or name -> subset.
            labels: the same of generated images that are known to come from a subset; they calibrate the probabilities.
            matches: of `match`; they add to the scores.
            prior: ``equal``, or ``patients``: as the subsets have patients.
            least: probability from which a subset is named; below it the answer is ``undecided``.
            seed: random seed.

        Raises:
            SubsetsError: there are fewer than two subsets, or subsets or labels cannot be had as asked.
            ValueError: there is no such prior, or `least` is no probability.
        """
        sides, settings = self.comparison.sides, SubsetSettings(Prior(prior), least, seed)
        members = subsets_by_row(read_subsets(subsets), sides.real.names)
        names = sorted(set(members.values()))
        known = origins_by_row(labels, sides.generated.names, names, AS_FOUND) if labels is not None else {}
        return attribute_subsets(self.comparison, self.groups, Origins(members, known), settings, matches=matches)

    def predict(
        self,
        labels: str | Path | Mapping[str, bool] | None = None,
        *,
        fdr: float = PredictionRequest.fdr,
        methods: tuple[str, ...] = (),
        seed: int = 0,
        near_duplicates: str = NearDuplicates.REFUSE,
        progress: Progress = in_cells,
    ) -> Predictions:
        """Predict for each real image whether it was used.

        Args:
            labels: CSV of image,used, or name -> whether it was used, as of `query.read_labels`, for some of the real images. A
                Python warning tells of names that no real image has.
            fdr: level of the false discovery rate among patients called used.
            methods: names of methods; empty for those that can predict with what is known.
            seed: random seed.
            near_duplicates: ``refuse`` or ``warn`` (a Python warning): of images that were not used and other real ones.
            progress: called with stage, done, total; by default a bar in notebooks.

        Raises:
            ContaminationError: images that were not used are among the others, or generated ones.
            CollectionError: a real image changed since it was indexed.
            LabelsError: the file cannot be read, or no name in it is among the real images.
            MembershipError: there is no such method, or one that was asked for lacks what it needs.
        """
        known = labels if isinstance(labels, Mapping) else read_labels(Path(labels)) if labels else {}
        by_row = labels_by_row(self.comparison.sides.real.names, known)
        self._check_reference(by_row, near_duplicates, progress)
        request = PredictionRequest(methods, fdr=fdr, seed=seed)
        case = replace(case_of(self.comparison.sides, by_row, self.groups.of_row, seed), memory=dict(self.measured))
        able = chosen(methods, {}, case)
        found = predict_requested(case, able, request, progress).with_known(by_row, self.groups.named)
        return ShownPredictions(**{item.name: getattr(found, item.name) for item in fields(found)})

    def _check_reference(self, labels: Mapping[int, bool], near_duplicates: str, progress: Progress) -> None:
        """Refuse labels that put a picture, or a given group, on two sides."""
        if False not in labels.values():
            return
        sides, groups = self.comparison.sides, self.groups.named if self.groups.known else {}
        seen = see_images(sides.real, progress)
        generated = Side(sides.generated.names, sides.generated.digests)
        count = contamination_of_labels(seen, labels, groups, lambda: generated).settled(near_duplicates)
        if count:
            warnings.warn(warned({SETTING: count})[0], stacklevel=3)


def compare(
    real: Collection,
    generated: Collection | ShardedCollection,
    *,
    mirrored: Collection | None = None,
    groups: str | Path | Mapping[str, str] | None = None,
    k: int = K,
    progress: Progress = in_cells,
) -> Run:
    """Compare real with generated images in both directions, by every view and by all of them combined.

    Args:
        real: indexed with ``fitted_on=generated``.
        generated: the generated images, perhaps in shards.
        mirrored: the real images flipped left to right, to look for flipped copies too.
        groups: CSV of image,group, a regular expression on names such as ``patient(\\d+)``, ``dicom`` or ``folder``, see
            `query.read_groups`, or name -> group; without it, near-duplicates are grouped, which reads the real images again.
        k: neighbours kept for each image and view.
        progress: called with stage, done, total; by default a bar in notebooks.

    Raises:
        CollectionError: the collections were made differently, or one is empty.
        ValueError, TypeError: k is below 1, or no whole number.
        GroupsError: the groups cannot be read, or none of their names is that of a real image.
    """
    generated = Joined(generated) if isinstance(generated, ShardedCollection) else generated
    k = positive(k)
    sides = sides_of(real, generated, mirrored)
    grouping = as_given(groups)
    together = group(grouping, sides.real)
    measures = planned(case_of(sides, {}, together.of_row), [make_method(name) for name in QUICK])
    device = generated.devices("auto")
    comparison = compare_sides(sides, k=k, device=device, also=measures.reductions, progress=progress)
    return Run(comparison, together, measures.results())


def compare_leakage(
    training: Collection,
    hold_out: Collection,
    sets: Mapping[str, Collection],
    *,
    groups: str | Path | Mapping[str, str] | None = None,
    primary: str = PRIMARIES[0],
    seed: int = 0,
) -> LeakageOfSets:
    """Hold several generated sets against the first: which leaks less of the training images, and by how much.

    Args:
        training, hold_out: real images, embedded like the sets.
        sets: name -> generated images, two or more, the first being what the others are held against. All are indexed with
            ``fitted_on`` one collection, best that of `indexer.fit_together`: views fitted on one set see that one best.
        groups: patients, see `compare`; without it every image is a patient by itself.
        primary: the figure of the combined view that the answer is about.
        seed: random seed.

    Raises:
        CollectionError: a collection is empty, or they were fitted on different images.
        ContaminationError: training and hold-out images share files or patients, or hold-out images are generated ones.
        GroupsError: the groups cannot be read.
        LeakageError: there are fewer than two sets, or no such figure.
    """
    sides = {name: LeakageSets(generated, training, hold_out) for name, generated in sets.items()}
    return leakage_of_sets(sides, groups_of_sets(sides, as_given(groups)), primary=primary, seed=seed)


def _pixels(images: Images, row: int) -> GreyImage | None:
    """None where the file is not there any more, or not what it was."""
    try:
        return images.read(row)
    except ImageError:
        return None
