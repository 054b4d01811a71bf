"""Whether a value suits what an extra spec of a flavor wants: `ssd`, `>= 4`, `s== text`, `<or> a <or> b`, as Nova's users write it."""

from collections.abc import Callable

NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, wanted: value >= wanted,
    ">=": lambda value, wanted: value >= wanted,
    "<=": lambda value, wanted: value <= wanted,
    "==": lambda value, wanted: value == wanted,
    "!=": lambda value, wanted: value != wanted,
}
TEXTS: dict[str, Callable[[str, str], bool]] = {
    "s==": lambda value, wanted: value == wanted,
    "s!=": lambda value, wanted: value != wanted,
    "s<": lambda value, wanted: value < wanted,
    "s<=": lambda value, wanted: value <= wanted,
    "s>": lambda value, wanted: value > wanted,
    "s>=": lambda value, wanted: value >= wanted,
    "<in>": lambda value, wanted: wanted in value,
}


def matches(value: str, wanted: str) -> bool:
    """Whether an aggregate's value is what is wanted. Without an operator, the same text; a number's operator refuses what is none."""
    operator, _, rest = wanted.strip().partition(" ")
    rest = rest.strip()
    if operator == "<or>":
        return value in {one.strip() for one in wanted.split("<or>") if one.strip()}
    if operator == "<all-in>":
        return all(one.strip() in value for one in wanted.split("<all-in>") if one.strip())
    if operator in TEXTS:
        return TEXTS[operator](value, rest)
    if operator in NUMBERS:
        try:
            return NUMBERS[operator](float(value), float(rest))
        except ValueError:
            return False
    return value == wanted
