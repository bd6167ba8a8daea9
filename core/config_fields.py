"""Options as fields of a struct, which declares type, default, limits and help of each one once.

A field is ``steps: Annotated[int, field_meta("Training", "Optimizer steps.", ge=1)] = 200``. Command line,
TOML files and Python convert their values by `ConfigField.convert`, with the same errors.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from .errors import UserError

LIMITS = ("gt", "ge", "lt", "le", "min_length")


def write_number(value: float) -> str:
    """Write a number so that it is read back exactly: 16 for 16.0, 0.1, 0.123456789."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def field_meta(group: str, help: str, **facts: Any) -> msgspec.Meta:
    """Return the metadata of a field for its annotation.

    Args:
        group: heading in the help of the command line.
        help: one line for it.
        facts: limits of msgspec (`LIMITS`), or facts of `ConfigField.extra`.
    """
    limits = {name: facts.pop(name) for name in LIMITS if name in facts}
    return msgspec.Meta(description=help, extra={"group": group, **facts}, **limits)


@dataclass(frozen=True)
class ConfigField:
    """One option, as its struct declares it.

    Attributes:
        name: of the struct's field; the flag and the key in TOML files have dashes.
        kind: type with its limits, without metadata.
        default: value where nothing is given.
        help: one line for `--help`.
        extra: `type`, the whole type; `group`, the heading in the help; `hint` and `if_empty`, the cures in
            errors; `parse`, a function applied to every given value, and `write`, its inverse; `repeat`: the
            flag is given once per item; `flag_value`: what the bare flag means.
    """

    name: str
    kind: inspect.Type
    default: Any
    help: str
    extra: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """Flag on the command line, such as `--lr-grid`."""
        return f"--{self.key}"

    @property
    def key(self) -> str:
        """Key in TOML files, such as `lr-grid`."""
        return self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed texts; empty for any other type."""
        kinds = self.kind.types if isinstance(self.kind, inspect.UnionType) else (self.kind,)
        return tuple(str(v) for kind in kinds if isinstance(kind, inspect.LiteralType) for v in kind.values)

    @property
    def is_flag(self) -> bool:
        """Whether it is true or false."""
        return isinstance(self.kind, inspect.BoolType)

    @property
    def is_pair(self) -> bool:
        """Whether it is a tuple of fixed length."""
        return isinstance(self.kind, inspect.TupleType)

    @property
    def repeats(self) -> bool:
        """Whether the flag is given once per item."""
        return isinstance(self.kind, inspect.DictType) or bool(self.extra.get("repeat"))

    def convert(self, value: object) -> Any:
        """Return a value of the command line, a TOML file or Python in the type of the field.

        Raises:
            UserError: the value has another type, or is out of range.
        """
        if value is None and self.default is None:  # the struct's `__post_init__` may set it
            return None
        found = self.extra["parse"](value) if "parse" in self.extra else value
        found = os.fspath(found) if isinstance(found, os.PathLike) else _plain_scalar(found)
        if isinstance(self.kind, inspect.UnionType):  # the bare flag, or none
            found = self.extra.get("flag_value") if found is True else found or None
        if isinstance(self.kind, inspect.VarTupleType):
            found = list(self._items(found))
        if isinstance(self.kind, inspect.DictType):
            found = self._assignments(found)
        elif self._is_empty(found):
            raise UserError(f"{self.flag} is empty: {self.extra.get('if_empty', 'name at least one')}.")
        try:
            result = msgspec.convert(found, self.extra["type"], strict=False)
        except msgspec.ValidationError:
            raise self._error(value) from None
        several = isinstance(result, tuple)
        numbers = result if several else (result,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise self._error(value)
        return tuple(dict.fromkeys(result)) if several and not self.is_pair else result

    def text(self, value: Any) -> str:
        """Return a converted value as the command line takes it; "" for None."""
        if isinstance(value, tuple):
            write = self.extra.get("write")
            return write(value) if write else ",".join(map(self.text, value))
        return write_number(value) if isinstance(value, float) else "" if value is None else str(value)

    def texts(self, value: Any) -> list[str]:
        """Return the items of a repeated option as the command line takes them, one by one."""
        if isinstance(value, Mapping):
            given = ((f"{name}.{key}", one) for name, pairs in value.items() for key, one in pairs.items())
            return [
                f"{name}={one if isinstance(one, str) else msgspec.json.encode(one).decode()}"
                for name, one in given
            ]
        return list(map(self.text, value))

    def arguments(self, value: Any) -> list[str]:
        """Return the command-line arguments that set a converted value."""
        if self.is_flag:
            return [self.flag if value else f"--no-{self.key}"]
        if self.repeats:
            return [word for text in self.texts(value) for word in (self.flag, text)]
        return [self.flag, self.text(value)]

    def _items(self, value: object) -> Iterable[object]:
        """Split a comma-separated text; drop empty items and those given twice."""
        if isinstance(value, str):
            value = [value] if self.repeats else value.split(",")
        elif isinstance(value, Mapping) or not isinstance(value, Iterable):
            value = [value]
        for item in value:
            if isinstance(item, (str, os.PathLike)):
                yield from filter(None, [os.fspath(item).strip()])
            else:
                yield _plain_scalar(item)

    def _assignments(self, value: object) -> dict[str, dict[str, object]]:
        """Parse texts like `partial.stages=2` to nested dictionaries, which are also accepted."""
        if isinstance(value, Mapping):
            if all(isinstance(pairs, Mapping) for pairs in value.values()):
                return {
                    str(name): {key: _plain_scalar(one) for key, one in pairs.items()}
                    for name, pairs in value.items()
                }
            raise self._error(value)
        found: dict[str, dict[str, object]] = {}
        for item in [value] if isinstance(value, str) else value if isinstance(value, Iterable) else [value]:
            path, equals, text = str(item).partition("=")
            name, dot, key = path.strip().rpartition(".")
            if not (equals and dot and name and key):
                raise self._error(item)
            found.setdefault(name, {})[key] = text.strip()
        return found

    def _is_empty(self, value: object) -> bool:
        least = getattr(self.kind, "min_length", None)
        return bool(least) and (value in ("", []) or (isinstance(value, str) and not value.strip()))

    def _error(self, value: object) -> UserError:
        shown = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        hint = f" ({self.extra['hint']})" if "hint" in self.extra else ""
        return UserError(f"{self.flag} {shown}: pass {_describe(self.kind)}{hint}.")


@lru_cache
def config_fields(struct: type[msgspec.Struct]) -> dict[str, ConfigField]:
    """Return the fields of a struct by name, in its order."""
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    hints = get_type_hints(struct, include_extras=True)
    found = {}
    for field in kind.fields:
        info, extra, help = field.type, {"type": hints[field.name]}, ""
        if isinstance(info, inspect.Metadata):
            extra |= info.extra or {}
            help = (info.extra_json_schema or {}).get("description", "")
            info = info.type
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        found[field.name] = ConfigField(field.name, info, default, help, extra)
    return found


def normalize(config: msgspec.Struct) -> None:
    """Convert every field of a new frozen struct in place; call it in `__post_init__`.

    Raises:
        UserError: a value has another type, or is out of range.
    """
    for name, field in config_fields(type(config)).items():
        msgspec.structs.force_setattr(config, name, field.convert(getattr(config, name)))


def changed_arguments(config: msgspec.Struct, preset: Mapping[str, Any]) -> list[str]:
    """Return the command-line arguments of every field that differs from its default.

    Args:
        config: the options.
        preset: defaults that depend on another option, by field.
    """
    fields = config_fields(type(config)).values()
    return [
        word
        for field in fields
        if (value := getattr(config, field.name)) not in (preset.get(field.name, field.default), ())
        for word in field.arguments(value)
    ]


def _plain_scalar(value: Any) -> Any:
    """Return a number or flag of numpy or torch as one of Python, and anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _describe(kind: inspect.Type) -> str:
    """Describe the values of a type, for an error: "a whole number of at least 1"."""
    if isinstance(kind, inspect.Metadata):
        return _describe(kind.type)
    if isinstance(kind, inspect.VarTupleType):
        plural = re.sub(r"^a (whole number|number|text)", r"\1s", _describe(kind.item_type))
        return f"{plural}, separated by commas"
    if isinstance(kind, inspect.UnionType):
        return _describe(next(each for each in kind.types if not isinstance(each, inspect.NoneType)))
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, inspect.DictType):
        return "NAME.OPTION=VALUE"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if not isinstance(kind, (inspect.IntType, inspect.FloatType)):
        return "a text"
    words = {"above": kind.gt, "of at least": kind.ge, "below": kind.lt, "at most": kind.le}
    limits = " and ".join(f"{word} {limit}" for word, limit in words.items() if limit is not None)
    return f"a {'whole ' if isinstance(kind, inspect.IntType) else ''}number {limits}".strip()
