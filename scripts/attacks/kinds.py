"""Registry of the attacks by name."""

from collections.abc import Callable, Mapping

from attacks import decoders, flips, kills, names, planted, processes, reviews, settings, shown, small, statements, swaps, traffic
from attacks.tally import Tally
from attacks.target import Target

Attack = Callable[[Target, Tally], str]  # says in words what it tried

KINDS: Mapping[str, Attack] = {
    "kill-index": kills.index,
    "kill-compare": kills.compare,
    "kill-predict": kills.predict,
    "kill-serve": kills.serve,
    "flip-files": flips.at_rest,
    "flip-served": flips.served,
    "cut-served": flips.cut,
    "statements": statements.statements,
    "bombs": decoders.uploaded,
    "bombs-index": decoders.indexed,
    "fuzz": decoders.fuzzed,
    "idle": traffic.idle,
    "slow-bodies": traffic.slow_bodies,
    "uploads": traffic.uploads,
    "cookie": traffic.cookie,
    "reviews": reviews.replaced,
    "planted": planted.planted,
    "names": names.hostile,
    "settings": settings.tampered,
    "swapped": swaps.swapped,
    "public": shown.public,
    "small": small.small,
    "exits": processes.exits,
}
