"""A user's own model, named by its import path."""

from collections.abc import Callable
from typing import Any

from torch import nn

from fedray.config import load_object, parse
from fedray.errors import ConfigError, ModelError
from fedray.messages import DataSpec
from fedray.models.base import ModelConfig


class ImportedModel(ModelConfig):
    """A class or function that gives a torch module, or a `ModelConfig` of one's own, as `my_pkg.nets:Net`."""

    name: str
    """Import path, `package.module:attribute`; the current folder is searched too."""
    args: dict[str, Any] = {}
    """Keyword arguments of the class or function, or settings of the `ModelConfig`."""

    def build(self, spec: DataSpec) -> nn.Module:
        found = load_object(self.name, "model.name")
        if isinstance(found, type) and issubclass(found, ModelConfig):
            return parse(found, self.args, source=f"model.args of {self.name}").build(spec)
        if not callable(found) or isinstance(found, nn.Module):
            raise ConfigError(
                f"model.name is {self.name!r}, which is a {type(found).__name__}, but must be a class or a function "
                "that gives a torch module; change model.name"
            )
        return self._module(self._call(found))

    def _call(self, factory: Callable[..., Any]) -> Any:
        try:
            return factory(**self.args)
        except Exception as error:
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ModelError(f"model {self.name} cannot be built ({cause}); change model.args") from error

    def _module(self, built: Any) -> nn.Module:
        if isinstance(built, nn.Module):
            return built
        raise ModelError(
            f"model.name is {self.name!r}, which gives a {type(built).__name__}, but must give a torch module; "
            "change model.name"
        )
