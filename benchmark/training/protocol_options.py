"""Options of protocols: from values of the command line to those in a cell."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...core.errors import UserError, unknown_name_error
from ..schema.plan import OptionValue
from .protocol import PROTOCOLS, BenchProtocol, options_type


def resolve_protocol_options(
    given: Mapping[str, Mapping[str, object]], protocols: Sequence[str]
) -> dict[str, msgspec.Struct]:
    """Return the options of each protocol of a run, with defaults for those that are not given.

    Args:
        given: protocol -> option -> value; numbers and flags may be text from the command line.
        protocols: those of the run.

    Raises:
        UserError: a protocol or option is unknown, or a value has a wrong type or is out of range.
    """
    for name, values in given.items():
        for option, value in values.items():
            try:
                _check_option(name, option, value, protocols)
            except UserError as error:
                raise UserError(f"{option_text(name, option, value)}: {error}") from None
    return {name: _convert_options(name, given.get(name, {})) for name in protocols}


def cell_options(name: str, options: msgspec.Struct, arch: str) -> dict[str, OptionValue] | msgspec.UnsetType:
    """Return what a cell of `arch` stores of a protocol's options; unset where nothing decides its result."""
    protocol = PROTOCOLS[name]
    choose = getattr(protocol, "cell_options", None)  # optional for a plug-in
    chosen: Any = choose(options, arch) if choose else BenchProtocol.cell_options(protocol, options, arch)
    try:
        return msgspec.convert(chosen, dict[str, OptionValue]) or msgspec.UNSET
    except msgspec.ValidationError as error:
        reason = f"an option of protocol {name} is no number, text or flag"
        raise UserError(f"{reason} ({error}): change its type in the protocol.") from error


def option_text(protocol: str, option: str, value: object) -> str:
    """Write an option as on the command line."""
    text = str(value).lower() if isinstance(value, bool) else value
    return f"--protocol-option {protocol}.{option}={text}"


def _check_option(name: str, option: str, value: object, protocols: Sequence[str]) -> None:
    """Raise `UserError` for an option that no protocol of the run has, or for a wrong value."""
    kind = options_type(PROTOCOLS[name])
    if name not in protocols:
        raise UserError(f"this run has no protocol {name}; add it to --protocols, or drop the option.")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if option not in fields:
        raise unknown_name_error("protocol option", option, fields)
    wanted = fields[option].type
    try:
        converted = msgspec.convert(value, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise UserError(f"{_plain(error)}{_describe_value(fields[option])}.") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise UserError(f"the value is no finite number{_describe_value(fields[option])}.")


def _convert_options(name: str, values: Mapping[str, object]) -> msgspec.Struct:
    kind = options_type(PROTOCOLS[name])
    try:
        options = msgspec.convert(values, kind, strict=False)
        return msgspec.convert(msgspec.to_builtins(options), kind)  # 16 and 16.0 are one key
    except msgspec.ValidationError as error:  # of several options together
        raise UserError(f"--protocol-option {name}: {_plain(error)}.") from None


def _plain(error: msgspec.ValidationError) -> str:
    """Return msgspec's sentence without its path and without JSON's words."""
    text = str(error).partition(" - at ")[0].replace(" | null", "")
    return text[:1].lower() + text[1:]


def _describe_value(field: Any) -> str:
    """Describe the values of an option in parentheses; "" where it has no description."""
    for meta in _metas(field.type):
        if meta.description:
            return f" ({meta.description[:1].lower()}{meta.description[1:].rstrip('.')})"
    return ""


def _metas(kind: Any) -> list[msgspec.Meta]:
    """List the annotations of a type, and of the members of a union."""
    own = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return own + [meta for member in getattr(kind, "__args__", ()) for meta in _metas(member)]
