"""Summary of an audit as text: findings beside what chance would give, and the limits."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from query.comparison.combined import COMBINED
from query.report.text.numbers import UNDEFINED, interval, share
from query.report.text.units import distance_text, shortened
from query.text import many, name

WIDTH = 100
Facts = Mapping[str, Any]  # see `query.flow.Audit.as_dict`

_NAME, _COLUMN = 23, 9  # characters of a name, and of a distance, in tables
_PAIRS, _COPIED = 5, 3  # lines of each table
_FEW = 10  # labelled images below which an interval from resampling deceives


def summary(facts: Facts) -> str:
    """The short of a run, 60 to 90 lines of 100 columns, the more the more is known and must be warned of."""
    parts = [_compared(facts), _views(facts), _distances(facts), _pairs(facts), _copied(facts), _agreement(facts)]
    parts += [_verified(facts), _threshold(facts), _labels(facts), _decisions(facts), _evaluation(facts)]
    parts += [_limits(facts), _files(facts)]
    return wrapped(line for part in parts for line in part)


def wrapped(lines: Iterable[str]) -> str:
    """Lines of at most `WIDTH` columns, each ended, without hidden characters; what is wrapped goes on indented."""
    text = ""
    for line in map(name, lines):
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
        options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": indent}
        text += "\n".join(textwrap.wrap(line, WIDTH, **options) if len(line) > WIDTH else [line]) + "\n"
    return text


def caveats(facts: Facts) -> list[str]:
    """What keeps these numbers from being a decision, one sentence each."""
    generated = facts["counts"]["generated"]["images"]
    return [
        calibration(facts["decisions"]["methods"].values()),
        f"The nearest of {generated:,} is nearer by chance than that of fewer: distances do not carry over.",
        "A small distance supports that an image was used; a large one does not clear an image.",
        'Undecided does not mean not used; "no evidence found" is not "safe to release".',
    ]


def calibration(methods: Iterable[Facts]) -> str:
    """One sentence on what stands on images whose membership is known; of each method ``reference`` and ``calibrated``."""
    methods = list(methods)
    if any("reference" in method for method in methods):
        return "Only decisions are calibrated: by reference images, so only for images of their kind and source."
    if any(method["calibrated"] for method in methods):
        return "Only thresholds of methods that learned from labelled images are calibrated, for images of their kind."
    return "Nothing here is calibrated: that takes reference images which are known not to have been used."


def _compared(facts: Facts) -> Iterator[str]:
    for role in ("generated", "real"):
        count = facts["counts"][role]
        failed = f", {many(count['failed'], 'file')} unreadable (csv/failures.csv)" if count["failed"] else ""
        ignored = f", {many(count['ignored'], 'file')} ignored (not named as images)" if count["ignored"] else ""
        yield f"{many(count['images'], f'{role} image')}{failed}{ignored}: {count['source']}"
    if facts["mirror"]:
        yield "Flipped real images were compared too; the nearer of both counts."
    shared = facts["shared"]
    if shared["same_files"]:
        yield "WARNING: real and generated images are THE SAME FILES; every distance below is that of an image to itself."
    elif shared["generated_files"]:
        files = many(shared["generated_files"], "generated file is", "generated files are")
        yield f"WARNING: {files} byte for byte {many(shared['real_files'], 'real image')} (for example"
        yield f"         {shortened(shared['example'], WIDTH - 12)})."


def _views(facts: Facts) -> Iterator[str]:
    for view, found in facts["views"].items():
        if found["note"] and view != COMBINED:
            yield f"View {view}: {found['note']}."
    blank = {view: found["blank"] for view, found in facts["views"].items() if any(found["blank"].values())}
    if blank:
        counts = "; ".join(f"{view} {count['generated']:,} generated, {count['real']:,} real" for view, count in blank.items())
        yield f"Left out, because they are blank in a view: {counts}."


def _distances(facts: Facts) -> Iterator[str]:
    """One line for each view: smallest and median distance to the nearest."""
    yield ""
    yield f"{'Distance to the nearest':<24}{'real to generated':^26}{'generated to real':^26}{'all pairs':>14}"
    yield f"{'':<24}{'smallest':>12}{'median':>12}  {'smallest':>12}{'median':>12}  {'median':>12}"
    for view, found in facts["views"].items():
        values = [found[side][name] for side in ("real", "generated") for name in ("smallest", "median")]
        real_smallest, real_median, smallest, median = (_distance(view, value) for value in values)
        every = _distance(view, found["all_pairs_median"])
        yield f"  {view:<22}{real_smallest:>12}{real_median:>12}  {smallest:>12}{median:>12}  {every:>12}"


def _pairs(facts: Facts) -> Iterator[str]:
    pairs = facts["closest_pairs"][:_PAIRS]
    if not pairs:
        return
    views = list(pairs[0]["distances"])
    yield ""
    yield f"{'Closest pairs, each real image once':<{2 * _NAME + 8}}" + "".join(f"{view:>{_COLUMN}}" for view in views)
    for pair in pairs:
        arrow = "<~" if pair["mirrored"] else "<-"  # of the flipped real image
        names = f"  {shortened(pair['real'], _NAME):<{_NAME}} {arrow} {shortened(pair['generated'], _NAME):<{_NAME}}  "
        yield names + "".join(f"{distance_text(view, distance):>{_COLUMN}}" for view, distance in pair["distances"].items())


def _copied(facts: Facts) -> Iterator[str]:
    copied = facts["most_copied"]
    if not copied["images"]:
        return
    yield ""
    by_chance = f"{copied['by_chance']:,.1f}"
    yield f"Real images nearest to the most generated ones by view {COMBINED} (did none have a source, {by_chance} each"
    yield "  on average, and some many times that: the top of this list is no proof)"
    for image in copied["images"][:_COPIED]:
        count, nearest = many(image["generated_images"], "generated image"), distance_text(COMBINED, image["nearest_distance"])
        membership = "" if image["membership"] == "unlabelled" else f", {image['membership']}"
        yield f"  {shortened(image['real'], 40):<40}  {count}, the nearest at {nearest}{membership}"


def _agreement(facts: Facts) -> Iterator[str]:
    agreement = facts["agreement"]
    if not agreement["pairs"]:
        return
    yield ""
    chance = f"chance {share(agreement['one_in'])}; in brackets: keeping views' favourites"
    yield f"Same nearest real image, of {agreement['images']:,} generated ({chance})"
    note = [f"{' = '.join(pair['views'])} {share(pair['share'])} ({share(pair['by_chance'])})" for pair in agreement["pairs"]]
    for line in _in_columns(note):
        yield f"    {line}"


def _verified(facts: Facts) -> Iterator[str]:
    found = facts["matched"]
    if found is None:
        return
    looked = f"{found['generated_images']:,} of {many(found['of'], 'generated image')}"
    yield ""
    yield f"Geometric matching ({found['budget']}): {looked}, {many(found['pairs'], 'pair')}"
    if found["threshold"] is not None:
        above = f"{many(found['generated_above'], 'generated image')} and {many(found['real_above'], 'real image')}"
        yield f"  {above} are above the threshold of {found['threshold']:.2f}."
        yield "  The value counts matched points that agree on one position, over what is usual."
    yield f"  {found['note']}"
    if found["failed"]:
        yield f"  {many(len(found['failed']), 'image')} could not be read again: {found['failed'][0]}"


def _threshold(facts: Facts) -> Iterator[str]:
    found = facts["threshold"]
    if found is None:
        return
    generated, real = (f"{found[f'{role}_images']:,} of {facts['counts'][role]['images']:,}" for role in ("generated", "real"))
    yield ""
    yield f"Within {found['bits']} bits of phash (your threshold, NOT CALIBRATED)"
    yield f"  {generated} generated images have a real one; {real} real images have a generated one."


def _labels(facts: Facts) -> Iterator[str]:
    labels = facts["labels"]
    if labels is None:
        return
    yield ""
    numbers = f"{labels['used']:,} used, {labels['not_used']:,} not used, {labels['unlabelled']:,} without"
    yield f"Labels: {numbers}. {facts['groups']['note']}"
    yield "  AUROC of the distance to the nearest generated image [95% by groups]; 0.50 tells nothing"
    for line in _in_columns([f"{view} {interval(found, none=UNDEFINED)}" for view, found in labels["auroc"].items()]):
        yield f"    {line}"
    if min(labels["used"], labels["not_used"]) < _FEW:
        yield f"  With fewer than {_FEW} labelled images of a kind these numbers say next to nothing."


def _decisions(facts: Facts) -> Iterator[str]:
    first, *others = facts["decisions"]["note"]
    yield ""
    yield f"Used or not used? {first}"
    yield from (f"  {line}" for line in others if line)


def _evaluation(facts: Facts) -> Iterator[str]:
    found = facts["evaluation"]
    if found is None:
        return
    yield ""
    yield "How well methods predict, on labelled images, each predicted without its label (more in evaluation/)"
    yield from (f"  {line}" for line in found["note"])


def _limits(facts: Facts) -> Iterator[str]:
    yield ""
    yield "What this does not say"
    for caveat in facts["caveats"]:
        yield f"  - {caveat}"


def _files(facts: Facts) -> Iterator[str]:
    yield ""
    yield f"Read report.html in {facts['out']}; tables are in csv/, pictures in plots/ and pairs/,"
    yield f"  everything in: synthtrace sql --db {facts['files']['database'][0]}"


def _in_columns(texts: Sequence[str]) -> Iterator[str]:
    """Two texts a line."""
    for start in range(0, len(texts), 2):
        yield "".join(f"{text:<44}" for text in texts[start : start + 2]).rstrip()


def _distance(view: str, value: float | None) -> str:
    return "-" if value is None else distance_text(view, value)
