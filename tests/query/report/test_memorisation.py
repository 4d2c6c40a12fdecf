"""What is said of memorisation: shares of what, in the right number, with nothing that clears an image."""

from dataclasses import replace

from query.comparison.memorisation import Share
from query.report.memorisation import MemorisationSummary
from query.report.text.memorisation import memorisation_sentences

COPIES = Share(12, 120, 0.1, 0.053, 0.168)
MATCHED = Share(30, 120, 0.238, 0.123, None)
FOUND = MemorisationSummary(120, 120, 30, 0.1, True, 60, 20, {"copies": COPIES, "matched": MATCHED})


def test_shares_are_told_with_their_bounds() -> None:
    assert memorisation_sentences(FOUND) == [
        "Exact and near-exact copies are 10.0% [5.3%, 16.8%] of the generated images (95% interval).",
        "30 of 120 generated images copy a real image at a false discovery rate of 10%.",
        "At least 12.3% of the images that this generator makes copy a real image shown here (95% confidence; estimate 23.8%), "
        "if others are as like real images as a further patient's are.",
    ]


def test_a_budget_is_said() -> None:
    found = replace(FOUND, matched=50, called=1)
    assert memorisation_sentences(found)[1] == (
        "1 of 120 generated images copies a real image at a false discovery rate of 10%; "
        "50 were matched, the others count as no copies."
    )


def test_nothing_found_says_what_could_have_been() -> None:
    none = replace(FOUND, called=0, shares={"matched": replace(MATCHED, low=0.0, value=0.004)})
    called, bound = memorisation_sentences(none)
    assert called.endswith("with 60 patients as controls, 20 must stand out from all of these before one can be called.")
    assert bound.startswith("By matching, the share of generated images that copy a real one may be 0")
    assert memorisation_sentences(replace(none, fewest=121))[0].endswith("with 60 patients as controls none ever can.")


def test_unknown_patients_and_hidden_numbers_are_told_apart() -> None:
    unknown = replace(FOUND, called=None, groups_known=False, patients=None, shares={})
    assert memorisation_sentences(unknown)[0].endswith("patients are unknown (--groups).")
    assert "not shown" in memorisation_sentences(replace(FOUND, called=None, patients=None, shares={}))[0]
    assert memorisation_sentences(None) == []
    assert memorisation_sentences(replace(FOUND, matched=None, called=None, shares={})) == []
