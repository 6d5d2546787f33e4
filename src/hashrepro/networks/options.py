"""Named choices of the networks, and the error for a name that does not exist."""

from collections.abc import Iterable

from hashrepro.errors import UserError


def require_choice(option: str, value: object, choices: Iterable[str]) -> None:
    """Raise `UserError` unless `value` is one of `choices`, for the parameter called `option`."""
    known = list(choices)
    if value not in known:
        raise UserError(
            f"{option} is {value!r}, which does not exist",
            where=option,
            mend=f"set {option} to one of: {', '.join(known)}",
        )
