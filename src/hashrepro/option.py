"""A key of params.yaml that decides between a published behaviour and another one, and says so itself."""

from typing import Any

from pydantic import Field

UNREAD = "unknown: only the abstract could be read"
SILENT = "the question does not arise in the paper"


def option(
    default: Any, description: str, *, paper: str, reference: str, others: dict[str, str], **limits: Any
) -> Any:
    """A pydantic field with the account of a deviation.

    Args:
        default: what this project does unless told otherwise; the published code's behaviour wherever that works.
        description: what the parameter is.
        paper: what the paper says.
        reference: what the published code does.
        others: the other values, as in params.yaml, each with what it changes.
        limits: of the field, for example ge=0.
    """
    account = {"paper": paper, "reference": reference, "others": others}
    return Field(default, description=description, json_schema_extra={"deviation": account}, **limits)


def declared(field: Any) -> dict | None:
    """The account that `option` gave a pydantic field; None if it has none."""
    return (field.json_schema_extra or {}).get("deviation")
