"""SynthtraceError: the base class of all errors that a user can mend."""


class SynthtraceError(Exception):
    """Something cannot be done as asked. The text is one line: what is wrong, and what would mend it."""
