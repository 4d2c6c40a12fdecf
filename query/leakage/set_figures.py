"""Figures by which generated sets are held against each other: names, units, and what more of them means."""

from collections.abc import Mapping
from enum import StrEnum

from query.leakage.attacks import AttackKind
from query.leakage.leakage import EXPECTED, Figure
from query.leakage.primary import TRACES

RISKS = {AttackKind.SINGLING_OUT: "singling_out_risk", AttackKind.LINKABILITY: "linkability_risk"}
NEAREST, COPIES = "nearest_auroc", "copies"
CALLED_PATIENTS, MATCHED_IMAGES, MATCHED_PATIENTS = TRACES[:3]
NAMES: tuple[str, ...] = (*map(str, Figure), NEAREST, *RISKS.values())


class Unit(StrEnum):
    """What a figure is measured in."""

    SHARE = "percentage points"
    RATIO = "ratio"
    Z_SCORE = "standard deviations (z)"
    AREA = "AUROC"
    DISTANCE = "distance"


UNITS: Mapping[str, Unit] = {
    **dict.fromkeys(map(str, Figure), Unit.SHARE),
    **dict.fromkeys((Figure.DCR, Figure.DCR_HOLD_OUT, Figure.DCR_5, Figure.DCR_5_HOLD_OUT), Unit.DISTANCE),
    **dict.fromkeys((Figure.DCR_RATIO, Figure.DCR_5_RATIO, Figure.NNDR, Figure.NNDR_HOLD_OUT), Unit.RATIO),
    Figure.C_T: Unit.Z_SCORE,
    NEAREST: Unit.AREA,
    **dict.fromkeys((*TRACES, *RISKS.values()), Unit.SHARE),
}
LEAKS_MORE: Mapping[str, int] = {  # 1: more is more leakage, -1: less is; other figures need their hold-out figure beside them
    Figure.NEARER: 1,
    Figure.DCR_RATIO: -1,
    Figure.DCR_5_RATIO: -1,
    Figure.C_T: -1,
    Figure.MEMORISED_EXCESS: 1,
    NEAREST: 1,
    **dict.fromkeys((*TRACES, *RISKS.values()), 1),
}
NOTHING_LEAKS: Mapping[str, float] = {
    **{str(figure): value for figure, value in EXPECTED.items()},
    Figure.C_T: 0.0,
    NEAREST: 0.5,
    **dict.fromkeys(RISKS.values(), 0.0),
}
