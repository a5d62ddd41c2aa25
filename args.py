"""How options are declared, constructed and checked. Standard library only; which options there are says each floor.

A group of options is a subclass of :class:`Options` whose fields are made by :func:`option`. There is one construction,
``SomeOptions(name=value, …)``; a command line is read into the same call. It knows what was given, fills in what
depends on it, checks everything, and tells every fault at once in the command line's own spelling.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import cache
from typing import Any, ClassVar, TypeVar

from console import InputError

Check = Callable[[Any], "str | None"]
O = TypeVar("O", bound="Options")  # noqa: E741 - the field's own letter for "options"
# In the order in which --help shows them.
GROUPS = ("data", "model", "training", "output")
# What the last word of an option's name says that it takes.
PLACEHOLDERS = {
    **dict.fromkeys(("dir", "run"), "FOLDER"),
    **dict.fromkeys(("file", "json", "path"), "FILE"),
    "model": "FOLDER|NAME",
    "set": "FOLDER|FILE",
}


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    choices: Sequence[str] | None = None,
    check: Check | None = None,
    state: bool = True,
    repeat: bool = False,
    group: str | None = None,
    also: Sequence[str] = (),
) -> Any:
    """Declares an option.

    Args:
        default: its value when it is not given; none makes it required.
        help: one sentence.
        choices: the values that are accepted.
        check: takes the value and returns what is wrong with it, or None.
        state: whether the option changes what a run computes; the others may differ when a run is resumed.
        repeat: whether a flag that is given again adds to what it was given before, instead of replacing it.
        group: one of :data:`GROUPS`, where it differs from that of the class that declares the option first.
        also: other names that a command line may call it by, those of published scripts.
    """
    metadata = {"help": help, "choices": choices, "check": check, "state": state, "repeat": repeat, "group": group}
    metadata["also"] = tuple(also)
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def positive(value: float) -> str | None:
    """A check: the value must be above zero."""
    return None if value > 0 else "must be above 0"


def not_negative(value: float) -> str | None:
    """A check: the value must not be below zero."""
    return None if value >= 0 else "must not be below 0"


def probability(value: float) -> str | None:
    """A check: the value must lie in [0, 1]."""
    return None if 0 <= value <= 1 else "must lie between 0 and 1"


def below_one(value: float) -> str | None:
    """A check: the value must lie in [0, 1)."""
    return None if 0 <= value < 1 else "must be at least 0 and below 1"


def proper_share(value: float) -> str | None:
    """A check: the value must lie between 0 and 1, neither of them included."""
    return None if 0 < value < 1 else "must be above 0 and below 1"


def between(low: float, high: float) -> Check:
    """Makes a check: the value must lie in [low, high]."""
    return lambda value: None if low <= value <= high else f"must lie between {low:g} and {high:g}"


# Widths, counts of layers, lengths: what memory is taken for.
size = between(1, 1_000_000)


class Options:
    """The base of all groups of options. Subclasses are frozen dataclasses that are constructed by name.

    Attributes:
        group: where ``--help`` shows the options of a class.
        given: names of the options that were given.

    Raises:
        InputError: what was given is wrong; the message tells all faults, joined by semicolons.
    """

    group: ClassVar[str] = "output"
    given: frozenset[str] = frozenset()

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, kw_only=True, init=False)(cls)

    def __init__(self, **given: Any) -> None:
        values, wrong = checked_values(type(self), given)
        self._fill(values, wrong)

    def _fill(self, given: Mapping[str, Any], wrong: Mapping[str, str]) -> None:
        """Sets every field.

        Args:
            given: checked values.
            wrong: what is wrong with the others, by their names.
        """
        fields = _fields(type(self))
        # An empty list is as good as nothing.
        given = {name: value for name, value in given.items() if value != () or fields[name].default == ()}
        needed = [name for name, item in fields.items() if item.default is dataclasses.MISSING]
        missing = [name for name in needed if name not in given and name not in wrong]
        faults = [wrong.get(name, f"--{name} is required") for name in fields if name in wrong or name in missing]
        faults = [*(fault for name, fault in wrong.items() if name not in fields), *faults]
        try:
            derived = type(self).derived(given)
        except InputError as error:
            raise InputError("; ".join([*faults, str(error)])) from None
        defaults = {name: item.default for name, item in fields.items()}
        for name, value in {**defaults, **derived, **given}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "given", frozenset(given))
        if not missing:
            # What stands in the place of a wrong value says nothing on how that option goes with others.
            faults += [fault for fault in self.faults() if not any(f"--{name}" in fault for name in wrong)]
        if faults:
            raise InputError("; ".join(dict.fromkeys(faults)))

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of options that were not given, where they depend on those that were; subclasses say which."""
        return {}

    @classmethod
    def cases(cls) -> Mapping[str, Mapping[str, Any]]:
        """What ``--help`` shows derived values for: what is given, by a name such as that of a task or an option."""
        return {}

    def faults(self) -> list[str]:
        """What is wrong between options; subclasses add theirs to their parent's."""
        return []

    def asks(self, name: str) -> bool:
        """Whether an option was given, and another value than it has anyway: it must then have an effect."""
        return name in self.given and getattr(self, name) != _fields(type(self))[name].default

    def replace(self: O, **changes: Any) -> O:
        """The options as if ``changes`` had been given too; what depends on them follows."""
        return type(self)(**{**{name: getattr(self, name) for name in self.given}, **changes})

    def as_dict(self) -> dict[str, Any]:
        """All options as plain values, for ``training_args.json``."""
        return json.loads(json.dumps({name: getattr(self, name) for name in _fields(type(self))}))

    @classmethod
    def default_state(cls) -> dict[str, Any]:
        """The defaults of those options that change what a run computes, as plain values."""
        found = {name: item.default for name, item in _fields(cls).items() if item.metadata["state"]}
        known = {name: value for name, value in found.items() if value is not dataclasses.MISSING}
        return json.loads(json.dumps(known))

    def state_dict(self) -> dict[str, Any]:
        """Those options that change what a run computes."""
        fields = _fields(type(self))
        return {name: value for name, value in self.as_dict().items() if fields[name].metadata["state"]}


def words_of(values: Mapping[str, Any]) -> list[str]:
    """Values of options as words of a command line."""
    words: list[str] = []
    for name, value in values.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, (list, tuple)):
            words += [f"--{name}", *map(str, value)]
        else:
            words += [f"--{name}", str(value)]
    return words


@cache
def _fields(cls: type[Options]) -> dict[str, dataclasses.Field]:
    return {item.name: item for item in dataclasses.fields(cls)}  # type: ignore[arg-type]


@cache
def list_options(cls: type[Options]) -> frozenset[str]:
    """The options that take several values."""
    return frozenset(name for name in _fields(cls) if _is_sequence(_types(cls)[name]))


@cache
def _types(cls: type[Options]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def names_of(cls: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the names of their options: those of published scripts, dashes and underscores alike."""
    also = {other: name for name, item in _fields(cls).items() for other in item.metadata["also"]}
    plain = {key.removeprefix("--").replace("-", "_"): value for key, value in given.items()}
    return {also.get(name, name): value for name, value in plain.items()}


def checked_values(cls: type[Options], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values given in Python, as their options hold them.

    Returns:
        The values, and what is wrong with those that are none, by their names.
    """
    values, wrong = {}, {}
    for name, value in given.items():
        if name not in _fields(cls):
            wrong[name] = f"--{name}: no such option"
            continue
        try:
            values[name] = _checked(cls, name, _coerced(value, _types(cls)[name]))
        except ValueError as error:
            wrong[name] = f"--{name}: {error}"
        except InputError as error:
            wrong[name] = str(error)
    return values, wrong


def parse(cls: type[O], argv: Sequence[str], description: str, prog: str | None = None) -> O:
    """Reads a command line into ``cls``.

    Flags may be repeated (the last one counts, unless the option collects them); booleans are written ``--flag``,
    ``--flag=True`` or ``--flag False``; dashes and underscores are the same.

    Raises:
        InputError: every fault of the command line, joined by semicolons.
    """
    parser = build_parser(cls, description, prog)
    parsed, unknown = parser.parse_known_args([_underscores(word, cls) for word in argv])
    raw = vars(parsed)
    values: dict[str, Any] = {}
    wrong = {}
    if unknown:
        # Under a name that no option can have.
        shown = f"unrecognized arguments: {' '.join(unknown)}{_near(cls, unknown)}"
        wrong[" "] = f"{shown}; --help lists the options"
    for name in _fields(cls):
        if raw[name] is not None:
            try:
                values[name] = parse_value(cls, name, raw[name])
            except InputError as error:
                wrong[name] = str(error)
    options = cls.__new__(cls)
    options._fill(values, wrong)
    return options


def _near(cls: type[Options], unknown: Sequence[str]) -> str:
    """The options whose names are near to words that are none."""
    known = [*_fields(cls), *(other for item in _fields(cls).values() for other in item.metadata["also"])]
    names = [word[2:].partition("=")[0].replace("-", "_") for word in unknown if word.startswith("--")]
    found = [near[0] for name in names if (near := difflib.get_close_matches(name, known, 1, 0.76))]
    return f"; did you mean {', '.join(f'--{name}' for name in found)}?" if found else ""


def parse_value(cls: type[Options], name: str, text: str | list[str]) -> Any:
    """Reads the value of one option.

    Raises:
        InputError: no such option, or a value that it does not take.
    """
    if name not in _fields(cls):
        raise InputError(f"--{name}: no such option{_near(cls, [f'--{name}'])}")
    try:
        return _checked(cls, name, _convert(text, _types(cls)[name]))
    except ValueError as error:
        raise InputError(f"--{name}: {error}") from None


def _checked(cls: type[Options], name: str, value: Any) -> Any:
    metadata = _fields(cls)[name].metadata
    choices, check = metadata["choices"], metadata["check"]
    if choices and value is not None and value not in choices:
        raise InputError(f"--{name} {value}: expected one of {', '.join(choices)}")
    if check and value is not None and (wrong := check(value)):
        raise InputError(f"--{name} {value}: {wrong}")
    return value


def build_parser(cls: type[Options], description: str, prog: str | None = None) -> argparse.ArgumentParser:
    """The parser behind :func:`parse`; it keeps all values as text, so that all faults can be reported at once."""
    # Examples stand in lines of their own.
    look = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog=prog, description=description, allow_abbrev=False, formatter_class=look)
    by_case = _values_by_case(cls)
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for name, item in _fields(cls).items():
        kind, choices = _types(cls)[name], item.metadata["choices"]
        if item.default is dataclasses.MISSING:
            default = "required"
        else:
            default = f"default: {_show(item.default)}{_show_cases(by_case.get(name, {}), item.default)}"
        settings: dict[str, Any] = {
            "default": None,
            "help": f"{item.metadata['help']} ({default})".replace("%", "%%"),
            "metavar": "{" + ",".join(choices) + "}" if choices else _placeholder(name, kind),
        }
        if _is_sequence(kind):
            settings["nargs"] = "+"
            if item.metadata["repeat"]:
                settings["action"] = "extend"
        elif kind is bool:
            settings.update(nargs="?", const="True", metavar="True|False")
        names = [f"--{known}" for known in (name, *item.metadata["also"])]
        groups[_group_of(cls, name)].add_argument(*names, dest=name, **settings)
    return parser


def _placeholder(name: str, kind: Any) -> str:
    """What an option takes, for the help: ``N`` a whole number, ``X`` any number, a path, or ``TEXT``."""
    kind = _optional(kind) or kind
    if _is_sequence(kind):
        return _placeholder(name, typing.get_args(kind)[0])
    if kind in (int, float):
        return "N" if kind is int else "X"
    if name == "model_name_or_path":
        return "FOLDER|NAME"
    return PLACEHOLDERS.get(name.rsplit("_", 1)[-1], "TEXT")


def _group_of(cls: type[Options], name: str) -> str:
    """The group that an option names, or that of the class that declares it first."""
    if own := _fields(cls)[name].metadata["group"]:
        return own
    groups = [base for base in reversed(cls.__mro__) if issubclass(base, Options) and base is not Options]
    return next(base.group for base in groups if name in _fields(base))


def _values_by_case(cls: type[Options]) -> dict[str, dict[str, Any]]:
    """Derived values by option, then by case."""
    found: dict[str, dict[str, Any]] = {}
    for case, given in cls.cases().items():
        for name, value in cls.derived(given).items():
            found.setdefault(name, {})[case] = value
    return found


def _show_cases(values: Mapping[str, Any], default: Any) -> str:
    cases: dict[Any, list[str]] = {}
    for case, value in values.items():
        if value != default:
            cases.setdefault(value, []).append(case)
    return "".join(f"; {_show(value)} for {' '.join(names)}" for value, names in cases.items())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        if "expected one argument" in message or "expected at least one argument" in message:
            message += " (a value that begins with dashes is written --option=--value)"
        raise InputError(f"{message}; --help lists the options")


def _underscores(word: str, cls: type[Options]) -> str:
    """The word with underscores for dashes where it is an option of ours; values stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    known = name[2:].replace("-", "_")
    others = {other for item in _fields(cls).values() for other in item.metadata["also"]}
    return f"--{known}{equals}{value}" if known in _fields(cls) or known in others else word


def _is_sequence(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _show(value: Any) -> str:
    if value is None or value == ():
        return "none"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _optional(kind: Any) -> Any:
    """``int`` of ``int | None``; None for what is not optional."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return None


def _convert(text: str | list[str], kind: Any) -> Any:
    """The value that a text of the command line stands for."""
    if _is_sequence(kind):
        return tuple(_convert(word, typing.get_args(kind)[0]) for word in text)
    assert isinstance(text, str)
    if inner := _optional(kind):
        return None if text.lower() == "none" else _convert(text, inner)
    if kind is bool:
        if text.lower() in ("true", "1", "yes"):
            return True
        if text.lower() in ("false", "0", "no"):
            return False
        raise ValueError(f"expected True or False, got {text!r}")
    if kind is int:
        try:
            return _whole(int(text))
        except ValueError:
            raise ValueError(f"expected a whole number{_too_large(text)}, got {text[:40]!r}") from None
    if kind is float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"expected a number, got {text!r}") from None
        return _finite(value, text)
    return _text(text)


def _coerced(value: Any, kind: Any) -> Any:
    """The value that a Python value stands for: lists become tuples, paths strings, whole numbers numbers."""
    if inner := _optional(kind):
        # "none" takes a value away on a command line: here too.
        return None if value is None or str(value).lower() == "none" else _coerced(value, inner)
    if _is_sequence(kind):
        # One word is a sequence of one.
        words = (value,) if isinstance(value, (str, os.PathLike)) or not isinstance(value, Sequence) else value
        return tuple(_coerced(word, typing.get_args(kind)[0]) for word in words)
    # NumPy's truth values are none of Python's.
    if kind is bool and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    if kind is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return _whole(int(value))
    if kind is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            return _finite(float(value), value)
        except OverflowError:
            raise ValueError(f"expected a finite number, got one of {len(str(value)):,} digits") from None
    if kind is str and isinstance(value, (str, os.PathLike)):
        return _text(os.fspath(value))
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    raise ValueError(f"expected {names[kind]}, got {value!r}")


def _whole(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"expected a whole number of at most 63 bits, got {value}")
    return value


def _too_large(text: str) -> str:
    return " of at most 63 bits" if text.strip().lstrip("+-").isdecimal() else ""


def _finite(value: float, shown: Any) -> float:
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {str(shown)!r}")
    return value


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character is in it")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("it is not UTF-8, which files of ours are written in")
    return value
