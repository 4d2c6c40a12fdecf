"""Method `svm`: a support vector machine on features of a real and a generated image; the generated images vote."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embeddings.pipeline import one_thread_each
from query.membership.case import Answer, Case, Model, Needs
from query.membership.features import Eye, OfResNet, labelled
from query.membership.labels import both_kinds

Kernel = NDArray[np.float64]


@dataclass(frozen=True)
class Svm:
    """The support vector machine of Bharathi et al. (CLEF 2023 working notes): F1 0.431 on the task's test images.

    Each training vector is a real image's features and a generated image's behind them, its label whether the real image was
    used; scikit-learn's defaults for the RBF kernel. Published were all 80,000 pairs; here each real image meets a draw of the
    generated ones. The kernel of two pairs is the product of the kernels of their real and of their generated images, so that no
    pair is ever written down and the votes are one matrix product.

    Attributes:
        cost: C.
        generated: at most so many generated images are drawn to learn from; published were 500.
        partners: generated images that each labelled real image meets.
        voters: at most so many generated images are drawn to vote.
        eye: where features come from; `svm-published` has those of the team's notebook.
    """

    cost: float = 1.0
    generated: int = 500
    partners: int = 20
    voters: int = 500
    eye: Eye = field(default_factory=OfResNet)
    needs = Needs.LABELS
    looks = True

    @property
    def name(self) -> str:
        """``svm``, with the published features ``svm-published``."""
        return "svm" if self.views else "svm-published"

    @property
    def views(self) -> tuple[str, ...]:
        """Those that features come from."""
        return self.eye.views

    def fit(self, case: Case) -> Model:
        """Arrays: features of real (n, c) and generated (m, c) images; of each support vector its two rows and dual weight."""
        from sklearn.svm import SVC

        both_kinds(case, self.name)
        features = self.eye.facts(case)
        rows, used = labelled(case)
        real, generated = self.eye.real(case, rows), self.eye.generated(case, self.generated)
        rng = np.random.default_rng(case.seed)
        partners = min(self.partners, len(generated))
        left = np.repeat(np.arange(len(real)), partners)
        right = np.concatenate([rng.choice(len(generated), partners, replace=False) for _ in real])
        with one_thread_each():
            gamma = _scale(real[left], generated[right])
            kernel = _rbf(real, real, gamma)[np.ix_(left, left)] * _rbf(generated, generated, gamma)[np.ix_(right, right)]
            machine = SVC(C=self.cost, kernel="precomputed").fit(kernel, used[left])
        arrays = {
            "real": real,
            "generated": generated,
            "left": left[machine.support_],
            "right": right[machine.support_],
            "weights": machine.dual_coef_[0],
            "intercept": machine.intercept_,
            "gamma": np.array([gamma]),
        }
        return Model(self.name, arrays, {"features": features})

    def answer(self, case: Case, model: Model) -> Answer:
        """Share of the generated images with which the machine calls an image used."""
        self.eye.check(case, model)
        arrays = model.arrays
        gamma = float(arrays["gamma"][0])
        real, generated = self.eye.real(case, np.arange(len(case.real))), self.eye.generated(case, self.voters)
        with one_thread_each():
            voters = _rbf(generated, arrays["generated"], gamma)[:, arrays["right"]]
            value = np.empty(len(real))
            for row, image in enumerate(real):  # one by one: BLAS rounds a row by its place in the matrix
                weights = _rbf(image[None], arrays["real"], gamma)[0, arrays["left"]] * arrays["weights"]
                value[row] = np.mean(voters @ weights + arrays["intercept"][0] > 0)
        return Answer(value, 0.5, calibrated=True, note=f"Used where at least half of {len(generated)} generated images vote so.")


def _scale(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Scikit-learn's ``gamma="scale"`` of the pairs: 1 / (components x variance of all numbers)."""
    pairs = np.concatenate([left, right], axis=1)
    return float(1 / max(pairs.shape[1] * pairs.var(dtype=np.float64), 1e-12))


def _rbf(a: NDArray[np.float32], b: NDArray[np.float32], gamma: float) -> Kernel:
    """(n, c), (m, c) -> (n, m) exp(-gamma |a - b|^2)."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    squared = (a64 * a64).sum(axis=1)[:, None] + (b64 * b64).sum(axis=1) - 2 * (a64 @ b64.T)
    kernel: Kernel = np.exp(-gamma * np.maximum(squared, 0))
    return kernel
