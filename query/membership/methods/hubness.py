"""Method `hubness`: how many generated images have the real image among their nearest, relative to reference images."""

from dataclasses import dataclass

import numpy as np

from query.comparison.reductions.occurrences import occurrences
from query.membership.case import Answer, Case, MembershipError, Model, Needs, Values
from query.membership.methods.density_ratio import real_distances
from query.membership.proximity import NAMED, Kind, Measure, measured


@dataclass(frozen=True)
class Hubness:
    """Log share of generated images that have the image among their k nearest real ones, minus the same of reference images.

    The k-occurrence of Radovanovic et al. (JMLR 2010) by group, minus its expectation: an image in the middle of all is near to
    everything, generated or not. Counts are raised by one half. Views count alike.

    Attributes:
        k: groups of real images that each one names.
        only: views that are looked at; empty for all there are.
    """

    k: int = NAMED
    only: tuple[str, ...] = ()
    name = "hubness"
    needs = Needs.REFERENCE
    looks = True
    views = ()

    def measures(self, case: Case) -> list[Measure]:
        """See `query.membership.proximity.Measuring`."""
        views = self.only or sorted(case.generated.specs)
        return [Measure(view, Kind.OCCURRENCES, self.k) for view in views] if len(np.unique(case.groups)) > self.k else []

    def fit(self, case: Case) -> Model:
        """Nothing to learn: the reference belongs to the case."""
        return Model(self.name)

    def answer(self, case: Case, model: Model) -> Answer:
        """Above 0 an image is named more often by generated images than by reference ones."""
        if not len(case.reference):
            raise MembershipError(f"{self.name} needs images known not to be used; name them with --unused DIR")
        if (count := len(np.unique(case.groups))) <= self.k:
            raise MembershipError(f"{self.name} needs real images of more than {self.k} groups (patients), got {count}")
        views = self.only or tuple(sorted(case.generated.specs))
        found = np.array([self._surplus(case, view) for view in views])
        counted = np.isfinite(found).sum(axis=0)
        value = np.where(counted > 0, np.nansum(found, axis=0) / np.maximum(counted, 1), np.nan)
        return Answer(value, 0.0, calibrated=False, note="Used where generated images name it more often.")

    def _surplus(self, case: Case, view: str) -> Values:
        seen = ~case.real.blank[view]
        reference = case.reference[seen[case.reference]]
        by_generated = measured(case, Measure(view, Kind.OCCURRENCES, self.k))
        by_reference = occurrences(real_distances(case, view)[:, reference], case.groups, seen, self.k)
        generated = max(1, int((~case.generated.blank[view]).sum()))
        surplus = np.log((by_generated + 0.5) / generated) - np.log((by_reference + 0.5) / max(1, len(reference)))
        return np.where(seen, surplus, np.nan)
