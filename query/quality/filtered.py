"""What a filter takes away of quality: fidelity of all generated images beside that of those kept, and what leakage remains."""

from dataclasses import replace

from indexer.build.build import Progress
from indexer.collection import Collection
from query.inputs.groups import Given
from query.leakage.filter import Release
from query.quality.estimate import GENERATED, KEPT, FidelitySettings
from query.quality.fidelity import Fidelity, RealSides, leakage_rows, measured


def fidelity_of_release(
    release: Release,
    collections: tuple[Collection, Collection, Collection | None],
    groups: Given | None,
    settings: FidelitySettings,
    progress: Progress,
) -> Fidelity:
    """Fidelity of the generated images and of those that are kept, at equal numbers of images.

    Args:
        release: the filter's decisions.
        collections: generated, training and hold-out images.

    Raises:
        FidelityError: too few images are kept, there is no such view, or an image cannot be read again.
    """
    generated, training, hold_out = collections
    real = RealSides.of(training, hold_out, generated, groups)
    found = measured(real, generated, {KEPT: ~release.withheld}, settings, progress)
    return replace(found, leakage=leakage_rows({GENERATED: release.before, KEPT: release.after}))
