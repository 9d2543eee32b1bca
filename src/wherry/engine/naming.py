"""Names and ids of containers: what is allowed, and names for those who gave none."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")

ADJECTIVES = (
    "able", "agile", "airy", "alert", "amber", "ample", "apt", "azure", "balmy", "bold", "brave", "breezy",
    "bright", "brisk", "buoyant", "calm", "candid", "careful", "cheery", "civil", "clear", "clever", "cosy",
    "crisp", "curious", "dapper", "daring", "deft", "dreamy", "eager", "early", "earnest", "easy", "elated",
    "exact", "fair", "famous", "fancy", "fearless", "fine", "firm", "fleet", "fluent", "fond", "frank", "free",
    "fresh", "gallant", "genial", "gentle", "giddy", "glad", "gleaming", "golden", "good", "graceful", "grand",
    "great", "handy", "happy", "hardy", "hearty", "helpful", "honest", "hopeful", "humble", "jaunty", "jolly",
    "jovial", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "mindful", "modest",
    "neat", "nimble", "noble", "open", "patient", "peaceful", "placid", "plucky", "polite", "prompt", "proud",
    "quick", "quiet", "radiant", "ready", "robust", "rosy", "serene", "sharp", "shining", "silent", "silver",
    "sincere", "smart", "smooth", "snug", "sober", "solid", "spry", "stable", "steady", "sturdy", "subtle", "sunny",
    "sure", "swift", "tender", "thrifty", "tidy", "tranquil", "trusty", "upbeat", "urban", "vivid", "warm", "wise",
    "witty", "worthy", "zesty",
)

# Bridge builders, cartographers, navigators, ferrymen and scholars of water, ports and ships.
SURNAMES = (
    "anning", "apgar", "archimedes", "bascom", "bazalgette", "beaufort", "bering", "bouguer", "brahe", "brindley",
    "brunel", "carson", "cayley", "cook", "coulomb", "darby", "davis", "delambre", "dias", "eads", "earhart",
    "eiffel", "ellet", "ericsson", "euler", "fitch", "fitzroy", "flinders", "freyssinet", "froude", "fulton",
    "gama", "gilbert", "halley", "harrison", "henson", "heyerdahl", "hipparchus", "hopper", "hudson", "humboldt",
    "huygens", "isambard", "jansen", "kepler", "kingsford", "kirch", "krylov", "lanchester", "laplace", "laval",
    "leavitt", "lesseps", "lovelace", "magellan", "maillart", "marsh", "maury", "mercator", "mulholland", "nansen",
    "newcomen", "noether", "ortelius", "palladio", "papin", "parsons", "perronet", "piccard", "plimsoll", "polhem",
    "prony", "ptolemy", "pytheas", "quimby", "rankine", "rennie", "reynolds", "riquet", "roebling", "ross",
    "savery", "scoresby", "shackleton", "sikorsky", "slocum", "smeaton", "somerville", "stephenson", "stevin",
    "strabo", "tasman", "telford", "tharp", "torricelli", "trevithick", "vauban", "vespucci", "vitruvius", "watt",
    "whitworth", "wren", "zheng",
)


def new_id() -> str:
    """64 random hexadecimal digits, of which the first twelve are never all decimal.

    The short form is the default hostname, and a hostname of digits alone is taken for an address by some.
    """
    while True:
        fresh = secrets.token_hex(32)
        if not fresh[:12].isdecimal():
            return fresh


def check_name(name: str) -> str:
    """The name with its leading slash. Raises InvalidArgument in Docker's words."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return "/" + name.removeprefix("/")


def random_name(taken: Callable[[str], bool], container_id: str,
                choose: Callable[[Sequence[str]], str] = secrets.choice) -> str:
    """A free name with leading slash: adjective_surname, with a digit when six tries were taken, at last the short id."""
    for attempt in range(12):
        name = f"/{choose(ADJECTIVES)}_{choose(SURNAMES)}" + (str(attempt - 5) if attempt > 5 else "")
        if not taken(name):
            return name
    return "/" + container_id[:12]
