"""The one exception for mistakes that the user can mend."""


class UserError(Exception):
    """A mistake in the input, the options or the surroundings that the user can mend.

    Its message is one line: what was found, what was expected, and what to type next. Commands print it on stderr and
    exit with status 2 (see `sparse_annotation_tools.cli.command`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
