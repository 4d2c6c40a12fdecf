"""The API for notebooks: `compare` two collections into a `Run`, `match` its pairs, `predict` which real images were used."""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from indexer.build.build import Progress, silent
from indexer.collection import Collection
from indexer.sharded.collection import ShardedCollection
from indexer.sharded.joined import Joined
from query.comparison.comparison import Comparison
from query.comparison.comparison import compare as compare_sides
from query.comparison.copies import Copies, find_copies
from query.comparison.matching import Budget, Matches, MatchSettings, match
from query.comparison.search import K, ViewResult
from query.inputs.contamination import SETTING, NearDuplicates, Side, contamination_of_labels, warned
from query.inputs.groups import Groups, group, read_groups
from query.inputs.labels import labels_by_row, read_labels
from query.inputs.seen import see_images
from query.inputs.sides import sides_of
from query.membership.methods.registry import QUICK, make_method
from query.membership.predict import PredictionRequest, Predictions, case_of, chosen, predict_requested
from query.membership.proximity import planned


@dataclass(frozen=True)
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

    def match(
        self,
        budget: str = "all",
        *,
        candidates: int = MatchSettings.candidates,
        rotations: bool = False,
        progress: Progress = silent,
    ) -> Matches:
        """Verify the candidate pairs of all views geometrically.

        Args:
            budget: ``all``, a number of generated images, or a time such as ``90s`` or ``2m``.
            candidates: real images proposed for each generated one.
            rotations: look for copies by quarter turns.
            progress: called with stage, done, total.

        Raises:
            ValueError: the budget is none of these.
        """
        settings = MatchSettings(Budget.parse(budget), candidates, rotations)
        return match(self.comparison, self.groups, settings, progress=progress)

    def copies(self, matches: Matches | None = None, *, rotations: bool = False, progress: Progress = silent) -> Copies:
        """Find generated images that are exact or near-exact copies of real ones: evidence by itself, whatever the reference.

        Args:
            matches: of `match`; its pairs are looked at too.
            rotations: look for copies by quarter turns too.
            progress: called with stage, done, total.
        """
        return find_copies(self.comparison, self.groups.of_row, matches, rotations=rotations, progress=progress)

    def predict(
        self,
        labels: str | Path | Mapping[str, bool] | None = None,
        *,
        fdr: float = PredictionRequest.fdr,
        methods: tuple[str, ...] = (),
        seed: int = 0,
        near_duplicates: str = NearDuplicates.REFUSE,
        progress: Progress = silent,
    ) -> Predictions:
        """Predict for each real image whether it was used.

        Args:
            labels: CSV of image,used, or name -> whether it was used, for some of the real images.
            fdr: level of the false discovery rate among patients called used.
            methods: names of methods; empty for those that can predict with what is known.
            seed: random seed.
            near_duplicates: ``refuse`` or ``warn`` (a Python warning): of images that were not used and other real ones.
            progress: called with stage, done, total.

        Raises:
            ContaminationError: images that were not used are among the others, or generated ones.
            CollectionError: a real image changed since it was indexed.
            LabelsError: the file cannot be read, or a name is not among the real images.
            MembershipError: there is no such method, or one that was asked for lacks what it needs.
        """
        known = labels if isinstance(labels, Mapping) else read_labels(Path(labels)) if labels else {}
        by_row = labels_by_row(self.comparison.sides.real.names, known)
        self._check_reference(by_row, near_duplicates, progress)
        request = PredictionRequest(methods, fdr=fdr, seed=seed)
        case = replace(case_of(self.comparison.sides, by_row, self.groups.of_row, seed), memory=dict(self.measured))
        able = chosen(methods, {}, case)
        return predict_requested(case, able, request, progress).with_known(by_row, self.groups.named)

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
    groups: str | None = None,
    k: int = K,
    progress: Progress = silent,
) -> Run:
    """Compare real with generated images in both directions, by every view and by all of them combined.

    Args:
        real: indexed with ``fitted_on=generated``.
        generated: the generated images, perhaps in shards.
        mirrored: the real images flipped left to right, to look for flipped copies too.
        groups: CSV of image,group, a regular expression on names such as ``patient(\\d+)``, ``dicom`` or ``folder``, see
            `query.read_groups`; without it, near-duplicates are grouped, which reads the real images again.
        k: neighbours kept for each image and view.
        progress: called with stage, done, total.

    Raises:
        CollectionError: the collections were made differently, or one is empty.
        GroupsError, LabelsError: the groups cannot be read, or name an image that is not there.
    """
    generated = Joined(generated) if isinstance(generated, ShardedCollection) else generated
    sides = sides_of(real, generated, mirrored)
    grouping = read_groups(groups) if groups is not None else None
    together = group(grouping, sides.real)
    measures = planned(case_of(sides, {}, together.of_row), [make_method(name) for name in QUICK])
    device = generated.devices("auto")
    comparison = compare_sides(sides, k=k, device=device, also=measures.reductions, progress=progress)
    return Run(comparison, together, measures.results())
