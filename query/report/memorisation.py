"""How many generated images copy a real one, for the report: called at a false discovery rate, and as a share with its bound."""

from collections.abc import Mapping
from dataclasses import dataclass

from query.comparison.memorisation import FDR, Share, fewest_called
from query.database.store import Store


@dataclass(frozen=True)
class MemorisationSummary:
    """Memorisation of a run; None is not shown.

    Attributes:
        generated: all generated images.
        matched: those that were matched, None where none was.
        called: those called copies at a false discovery rate of `fdr`; None where patients are unknown, or nothing was matched.
        fdr: see there.
        groups_known: whether patients are known.
        patients: groups that calibrate this, None where they are unknown.
        fewest: so many images must stand out from all of those before one can be called.
        shares: ``exact copies``, ``copies`` (exact and near-exact) and ``matched`` -> share of generated images that copy a real
            one, those that are known.
    """

    generated: int | None
    matched: int | None
    called: int | None
    fdr: float
    groups_known: bool
    patients: int | None
    fewest: int | None
    shares: Mapping[str, Share]


def memorisation_summary(store: Store, run: int) -> MemorisationSummary | None:
    """Of a run; None where neither copies were looked for nor pairs matched.

    Raises:
        StoreError: the database cannot be read.
    """
    query = """SELECT figure, images, "of", value, low, high FROM memorisation WHERE run_id = $run"""
    shares = {row.pop("figure"): Share(**row) for row in store.sql(query, {"run": run}).to_pylist()}
    matching = store.sql("SELECT generated_images, control_groups FROM matching WHERE run_id = $run", {"run": run}).to_pylist()
    if not shares and not matching:
        return None
    query = "SELECT count(*) FILTER (q_value <= $fdr) AS called, count(q_value) AS known FROM match_tests WHERE run_id = $run"
    (tests,) = store.sql(query, {"run": run, "fdr": FDR}).to_pylist()
    (about,) = store.sql("SELECT generated_images FROM runs WHERE run_id = $run", {"run": run}).to_pylist()
    generated, patients = about["generated_images"], matching[0]["control_groups"] if matching else None
    return MemorisationSummary(
        generated=generated,
        matched=matching[0]["generated_images"] if matching else None,
        called=tests["called"] if tests["known"] else None,
        fdr=FDR,
        groups_known=patients is not None,
        patients=patients,
        fewest=fewest_called(patients, generated) if patients else None,
        shares={figure: shares[figure] for figure in ("exact copies", "copies", "matched") if figure in shares},
    )
