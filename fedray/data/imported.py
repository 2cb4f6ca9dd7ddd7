"""A data source of the user's own, chosen by import path."""

import inspect
from typing import Any

from pydantic import Field

from fedray.config import load_object, parse
from fedray.data.base import DataConfig, GeneratedDataConfig, Table
from fedray.errors import ConfigError, DataError


class ImportedData(DataConfig):
    """A source by import path: a settings class of a source, or a function that returns a `Table`."""

    name: str
    """Import path: `my_pkg.data:Source`."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Settings of the class, or arguments of the function, which also gets `seed`."""

    def resolve(self) -> DataConfig | GeneratedDataConfig:
        """The user's own settings object, or this one where the path names a function.

        Raises:
            ConfigError: The path cannot be imported, names something else, or its settings are wrong.
        """
        found = load_object(self.name, "data.name")
        if isinstance(found, type) and issubclass(found, DataConfig | GeneratedDataConfig):
            named = found.model_fields["name"].is_required()
            return parse(found, {"name": self.name, **self.args} if named else self.args, "data.args")
        if callable(found):
            return self
        raise ConfigError(
            f"data.name is '{self.name}', which is neither a data source nor a function; change data.name"
        )

    def table(self, seed: int) -> Table:
        """What the user's source gives."""
        source = self.resolve()
        if isinstance(source, GeneratedDataConfig):
            raise ConfigError(f"data '{self.name}' generates its clients and has no table; load it without a partition")
        return self._call(seed) if source is self else source.table(seed)

    def _call(self, seed: int) -> Table:
        function = load_object(self.name, "data.name")
        try:
            inspect.signature(function).bind(seed=seed, **self.args)
        except TypeError as error:
            raise ConfigError(f"data '{self.name}' cannot be called: {error}; change data.args") from error
        table = function(seed=seed, **self.args)
        if not isinstance(table, Table):
            raise DataError(f"data '{self.name}' gave a {type(table).__name__}, but must give a fedray Table")
        return table
