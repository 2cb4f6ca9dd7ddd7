"""Typed settings: the base of every configuration class, and alternatives chosen by name.

A class of settings stands next to the code that it configures, and often *is* the builder: `Mlp(hidden=(64,))` is
read from `{name: mlp, hidden: [64]}` and has a `build` method. A `Choices` lists the alternatives of one kind.
"""

import difflib
import importlib
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from fedray.errors import ConfigError, DataError, FedrayError

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Frozen settings that refuse unknown keys and name the nearest known one."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _name_the_nearest_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key", "{text}", {"text": _unknown(str(key), list(cls.model_fields))}
                    )
        return data


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key '{key}' ({hint})"


class Choices:
    """The alternatives of one kind of setting, chosen by their `name` (or another key).

    Used as an annotation, `Annotated[ModelConfig, MODELS]`. In YAML a bare string stands for `{name: string}`, and a
    name with a colon, `my_pkg.nets:Net`, selects `imported`, which builds a user's own class with `args`.

    Args:
        kind: What is chosen, for messages: "model", "strategy".
        options: Name to settings class; each class has a field `name` with that default.
        imported: The settings class behind an import path, or None where only built-in names are allowed.
        key: The setting that chooses, instead of `name`.
    """

    def __init__(
        self,
        kind: str,
        options: Mapping[str, type[Config]],
        imported: type[Config] | None = None,
        key: str = "name",
    ) -> None:
        self.kind, self.options, self.imported, self.key = kind, dict(options), imported, key

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        choices: dict[Any, core_schema.CoreSchema] = {n: handler.generate_schema(c) for n, c in self.options.items()}
        if self.imported is not None:
            choices[":"] = handler.generate_schema(self.imported)
        tagged = core_schema.tagged_union_schema(choices, discriminator=self._tag)
        return core_schema.no_info_before_validator_function(self._expand, tagged)

    def _expand(self, value: Any) -> Any:
        value = {self.key: value} if isinstance(value, str) else value
        if isinstance(value, Mapping) and self.key not in value:
            text = f"has no {self.key}; choose the {self.kind} by {self.key}: {', '.join(self.options)}"
            raise PydanticCustomError("no_name", "{text}", {"text": text})
        name = self._name(value)
        if name not in self.options and not (self.imported and isinstance(name, str) and ":" in name):
            near = difflib.get_close_matches(str(name), self.options, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.options)}"
            text = f"no {self.kind} is called {name!r} ({hint})"
            raise PydanticCustomError("unknown_name", "{text}", {"text": text})
        return value

    def _tag(self, value: Any) -> Any:
        name = self._name(value)
        return ":" if isinstance(name, str) and ":" in name else name

    def _name(self, value: Any) -> Any:
        return value.get(self.key) if isinstance(value, Mapping) else getattr(value, self.key, value)


def parse(cls: type[C], data: Any, source: str = "") -> C:
    """Checks `data` against the settings class `cls`.

    Args:
        cls: The settings class.
        data: Nested mappings, lists and scalars, as read from YAML.
        source: Where the data came from, for the message: a file name.

    Raises:
        ConfigError: One sentence that names the first setting that is wrong.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_sentence(cls, error, source)) from None


def _sentence(cls: type[Config], error: ValidationError, source: str) -> str:
    errors = error.errors()
    text = _describe(cls, errors[0])
    settings = {".".join(_setting(cls, list(each["loc"]))) for each in errors}
    more = f" (and {len(settings) - 1} more)" if len(settings) > 1 else ""
    return f"{source}: {text}{more}" if source else f"{text}{more}"


def _describe(cls: type[Config], error: ErrorDetails) -> str:
    where = ".".join(_setting(cls, list(error["loc"])))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{where} is missing; set {where}"
    if error["type"] in ("unknown_key", "unknown_name", "no_name", "value_error"):
        return f"{where}: {message}" if where else message
    _, should, rule = message.partition(" should ")
    reason = f", but must {rule}" if should else f" ({message})"
    return f"{where} is {error['input']!r}{reason}; change {where}"


def _setting(cls: type[Config] | None, location: list[int | str]) -> list[str]:
    """The setting as a user wrote it: pydantic puts the alternative chosen into the location, a user does not."""
    path: list[str] = []
    while location:
        part = location.pop(0)
        path.append(str(part))
        field = cls.model_fields.get(str(part)) if cls else None
        choices = _choices(field) if field else None
        if choices and location and isinstance(location[0], int):  # one of a list
            path.append(str(location.pop(0)))
        if choices and location:
            cls = choices.options.get(str(location.pop(0)), choices.imported)
        else:
            cls = _inner(field) if field else None
            if field and _alternatives(field) and location:
                location.pop(0)
    return path


def _inner(field: FieldInfo) -> type[Config] | None:
    """The settings class of a setting, also of one that may be left out: `Outages | None`."""
    parts = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else [field.annotation]
    found = [part for part in parts if isinstance(part, type) and issubclass(part, Config)]
    return found[0] if len(found) == 1 else None


def _alternatives(field: FieldInfo) -> bool:
    """Whether a setting takes several types, besides null: `int | Literal["auto"]`."""
    if get_origin(field.annotation) not in (Union, UnionType):
        return False
    return sum(part is not NoneType for part in get_args(field.annotation)) > 1


def _choices(field: FieldInfo) -> Choices | None:
    """The choices of a setting, also of one that may be left out: `AnyTask | None`."""
    optional = [m for part in get_args(field.annotation) for m in getattr(part, "__metadata__", ())]
    return next((m for m in (*field.metadata, *optional) if isinstance(m, Choices)), None)


@contextmanager
def users_own(what: str, setting: str) -> Generator[None]:
    """Around a call of a user's own data source or partition, whose errors become one sentence.

    Args:
        what: What is called, for the message: "data 'my_pkg.data:Source'".
        setting: The setting that names it.

    Raises:
        DataError: It raised something that is no error of fedray.
    """
    try:
        yield
    except FedrayError:
        raise
    except Exception as error:
        raise DataError(f"{what} failed ({type(error).__name__}: {error}); mend it, or change {setting}") from error


def load_object(path: str, setting: str) -> Any:
    """Imports `package.module:attribute`, looking in the current folder too.

    Args:
        path: The import path.
        setting: The setting that holds it, for the message.

    Raises:
        ConfigError: The module or the attribute does not exist, or importing it failed.
    """
    module, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{setting} is {path!r}, which cannot be imported ({reason}); change {setting}") from error
    return found
