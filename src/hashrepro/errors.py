"""The one exception for bad input, and how a command shows it."""


class UserError(Exception):
    """Something that the user can mend: a wrong value, a missing file, a damaged archive.

    Args:
        what: what is wrong, in one sentence, with the offending value.
        where: the file, key or address that it was found in.
        mend: the command or the edit that mends it.
    """

    def __init__(self, what: str, *, where: object = None, mend: str | None = None):
        self.what, self.where, self.mend = what, where, mend
        lines = [what]
        if where is not None:
            lines.append(f"  where: {where}")
        if mend is not None:
            lines.append(f"  mend:  {mend}")
        super().__init__("\n".join(lines))
