"""Registry of the methods by name; imports a method's libraries when it is first used."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query.membership.case import Case, Method


def _of(module: str, name: str, **settings: object) -> Callable[[], "Method"]:
    def make() -> "Method":
        method: Method = getattr(import_module(f"query.membership.{module}"), name)(**settings)
        return method

    return make


# In the order in which they are shown: the primary one, ours, those that learn nothing, those that learn.
METHODS: Mapping[str, Callable[[], "Method"]] = {
    "fusion": _of("methods.fusion", "Fusion"),
    "fusion-learned": _of("methods.fusion", "LearnedFusion"),
    "reference": _of("methods.density_ratio", "Reference"),
    "hubness": _of("methods.hubness", "Hubness"),
    "self-threshold": _of("methods.self_threshold", "SelfThreshold"),
    "vcmi": _of("methods.vcmi", "Vcmi"),
    "vcmi-3sd": _of("methods.vcmi", "Vcmi", deviations=3.0),
    "vcmi-max": _of("methods.vcmi", "Vcmi", deviations=None),
    "phash": _of("methods.phash", "PHashThreshold"),
    "phash-calibrated": _of("methods.phash", "PHashThreshold", bits=None),
    "cnn": _of("imageclef2023.cnn", "Cnn"),
    "sift-knn": _of("imageclef2023.sift_knn", "SiftKnn"),
    "relation": _of("imageclef2023.relation", "Relation"),
    "relation-l2": _of("imageclef2023.relation", "Relation", compare="l2"),
    "relation-cosine": _of("imageclef2023.relation", "Relation", compare="cosine"),
    "clusters": _of("imageclef2023.clusters", "Clusters"),
    "svm": _of("imageclef2023.svm", "Svm"),
    "relation-published": _of("imageclef2023.published_relation", "PublishedRelation"),
    "clusters-published": _of("imageclef2023.published_clusters", "PublishedClusters"),
    "svm-published": _of("imageclef2023.imagenet", "published_svm"),
}
QUICK = ("fusion", "reference", "hubness", "self-threshold", "phash")  # those an audit uses unless told otherwise


def make_method(name: str) -> "Method":
    """The method of this name.

    Raises:
        MembershipError: there is none.
    """
    from query.membership.case import MembershipError

    if name not in METHODS:
        raise MembershipError(f"no method is called {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]()


def able(names: Sequence[str], case: "Case") -> list["Method"]:
    """Those of the named methods that have what they need in a case."""
    from query.membership.case import Needs

    has = {Needs.NOTHING: True, Needs.REFERENCE: len(case.reference) > 0, Needs.LABELS: len(set(case.used[case.labelled])) == 2}
    made = [make_method(name) for name in names]
    return [each for each in made if has[each.needs] and all(view in case.generated.specs for view in each.views)]
