"""Values as Go's fmt prints them: %v of JSON values, and the verbs of printf."""

from __future__ import annotations

from wherry.cli.values import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def plain(value: Any) -> str:
    """`%v`."""
    if value is None:
        return "<nil>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{plain(key)}:{plain(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(plain(one) for one in value) + "]"
    return str(value)


def go_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """A float as Go's %v (shortest) or with a verb and a precision."""
    if verb == "f":
        return f"{value:.{6 if precision < 0 else precision}f}"
    if verb == "e":
        return f"{value:.{6 if precision < 0 else precision}e}"
    if precision >= 0:
        return f"{value:.{precision}g}"
    if value == 0:
        return "0"
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    scale = int(exponent) if exponent else len(mantissa.lstrip("-").partition(".")[0]) - 1
    if -5 < scale < 21:
        whole = f"{value:.0f}" if value == int(value) else (f"{value:f}" if "e" in text else text)
        return whole.rstrip("0").rstrip(".") if "." in whole else whole
    digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{digits}e{'-' if scale < 0 else '+'}{abs(scale):02d}"


def go_type(value: Any) -> str:
    """The name of a Go type that would hold the value."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    for kind, name in (
        (str, "string"),
        (int, "int"),
        (float, "float64"),
        (dict, "map[string]interface {}"),
        (list, "[]interface {}"),
    ):
        if isinstance(value, kind):
            return name
    return getattr(value, "go_type", type(value).__name__)


def _bad(verb: str, value: Any) -> str:
    return f"%!{verb}({go_type(value)}={plain(value)})" if value is not None else f"%!{verb}(<nil>)"


def _text_verb(verb: str, value: Any, precision: int, sharp: bool) -> str:
    if isinstance(value, str):
        cut = value if precision < 0 else value[:precision]
        if verb == "q":
            return go_quote(cut)
        if verb in "xX":
            text = cut.encode().hex()
            return text if verb == "x" else text.upper()
        return cut
    if verb == "s" and isinstance(value, list):
        return "[" + " ".join(_text_verb(verb, one, precision, sharp) for one in value) + "]"
    if verb == "q" and isinstance(value, list):
        return "[" + " ".join(_text_verb(verb, one, precision, sharp) for one in value) + "]"
    if verb == "s" and isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text_verb(verb, value[key], precision, sharp)}" for key in sorted(value)) + "]"
    if verb == "s" and hasattr(value, "template_field"):
        return plain(value)
    if verb == "q" and isinstance(value, int) and not isinstance(value, bool):
        return f"'{chr(value)}'"
    return _bad(verb, value)


def _number_verb(verb: str, value: Any, precision: int, flags: str) -> str:
    if isinstance(value, bool):
        return ("true" if value else "false") if verb == "t" else _bad(verb, value)
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if isinstance(value, int):
        if verb in "dboxXc":
            if verb == "c":
                return chr(value)
            text = {"d": "{:d}", "b": "{:b}", "o": "{:o}", "x": "{:x}", "X": "{:X}"}[verb].format(abs(value))
            prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in flags else ""
            return ("-" if value < 0 else sign) + prefix + text
        return _bad(verb, value)
    if isinstance(value, float) and verb in "feEgG":
        text = go_float(value, verb.lower(), precision)
        return (sign if value >= 0 else "") + (text.upper() if verb.isupper() else text)
    return _bad(verb, value)


def format_verb(verb: str, value: Any, precision: int, flags: str) -> str:
    """One value under one verb, without padding."""
    if verb == "v":
        if "#" in flags:
            return _syntax(value)
        return plain(value) if not (isinstance(value, float) and precision >= 0) else go_float(value, "g", precision)
    if verb == "T":
        return go_type(value)
    if verb in "sq" or (verb in "xX" and isinstance(value, str)):
        return _text_verb(verb, value, precision, "#" in flags)
    return _number_verb(verb, value, precision, flags)


def _syntax(value: Any) -> str:
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, dict):
        return go_type(value) + "{" + ", ".join(f"{_syntax(key)}:{_syntax(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return go_type(value) + "{" + ", ".join(_syntax(one) for one in value) + "}"
    return "interface {}(nil)" if value is None else plain(value)


def sprintf(text: str, values: list[Any]) -> str:
    """fmt.Sprintf."""
    out: list[str] = []
    used, at = 0, 0
    while at < len(text):
        percent = text.find("%", at)
        if percent < 0:
            out.append(text[at:])
            break
        out.append(text[at:percent])
        at = percent + 1
        flags = ""
        while text[at : at + 1] in ("+", "-", "#", " ", "0") and text[at : at + 1]:
            flags += text[at]
            at += 1
        numbers = []
        for mark in ("", "."):
            if mark and text[at : at + 1] != ".":
                numbers.append(-1)
                continue
            at += len(mark)
            start = at
            if text[at : at + 1] == "*":
                at += 1
                numbers.append(values[used] if used < len(values) and isinstance(values[used], int) else 0)
                used += 1
                continue
            while text[at : at + 1].isdecimal():
                at += 1
            numbers.append(int(text[start:at] or (0 if mark else -1)))
        width, precision = numbers
        verb = text[at : at + 1]
        at += 1
        if verb == "%":
            out.append("%")
        elif not verb:
            out.append("%!(NOVERB)")
        elif used >= len(values):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_padded(format_verb(verb, values[used], precision, flags), width, flags, values[used]))
            used += 1
    if used < len(values):
        out.append("%!(EXTRA " + ", ".join(f"{go_type(one)}={plain(one)}" for one in values[used:]) + ")")
    return "".join(out)


def _padded(text: str, width: int, flags: str, value: Any) -> str:
    if "-" in flags:
        return text.ljust(width) if width > 0 else text
    if "0" in flags and isinstance(value, int | float) and not isinstance(value, bool):
        sign = text[:1] if text[:1] in "+- " else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width) if width > 0 else text
