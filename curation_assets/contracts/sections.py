"""Sections of recipes: the base of their models, and the types of their keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from curation_assets.rules.language import RuleError, parse_rule

NAME = r"^[a-z0-9][a-z0-9_]*$"


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """Each key as recipes write it, and its field; what is for other packages comes last."""
        fields = sorted(cls.model_fields.items(), key=lambda item: item[0] == "options")
        return {field.alias or name: field for name, field in fields}


def _check_rule(text: str) -> str:
    try:
        parse_rule(text)
    except RuleError as error:
        raise ValueError(str(error)) from error
    return text


Rule = Annotated[str, BeforeValidator(lambda v: _check_rule(v) if isinstance(v, str) else v)]
Rules = Annotated[list[Rule], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
Paths = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v), Field(min_length=1)]
