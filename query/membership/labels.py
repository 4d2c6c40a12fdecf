"""Requirement of trained methods: labelled images of both kinds."""

import numpy as np

from query.membership.case import NOT_USED, USED, Case, MembershipError


def both_kinds(case: Case, method: str) -> None:
    """Refuse to learn without images of both kinds.

    Raises:
        MembershipError: no image is known to be used, or none is known not to be.
    """
    lacking = [kind for kind, value in (("used", USED), ("not used", NOT_USED)) if not np.any(case.used == value)]
    if lacking:
        missing = " and none known to be ".join(lacking)
        raise MembershipError(
            f"{method} learns from images known to be used and images known not to be, and none is known to be {missing}: "
            "name them with --labels FILE, or with --used DIR and --unused DIR"
        )
