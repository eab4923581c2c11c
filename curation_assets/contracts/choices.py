"""Keys of recipes that name one of several ways: those of this package, and those that installed packages bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from curation_assets.contracts.door import brought, named


@dataclass(frozen=True)
class OneOf:
    """Annotation of a string that names a way: `Annotated[str, OneOf("criteria", ("all", "random"))]`.

    Attributes:
        kind: group of the entry points by which packages bring others, as in `door.KINDS`.
        built_in: the names that this package has.
    """

    kind: str
    built_in: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names that there are."""
        return (*self.built_in, *(n for n in sorted(named(self.kind)) if n not in self.built_in))

    def check(self, value: str) -> str:
        """Raises ValueError for a name that there is not."""
        if value not in self.names:
            *most, last = map(repr, self.names)
            raise ValueError(f"Input should be {', '.join(most)} or {last}")
        return value

    def bring(self, value: str) -> Any:
        """What a package brings under a name; None for names of this package.

        Raises:
            ValueError: it cannot be imported; the message names the package.
        """
        return None if value in self.built_in else brought(self.kind, value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, core_schema.str_schema())

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "enum": list(self.names)}
