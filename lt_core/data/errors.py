"""The error of everything that reads data."""


class DataError(RuntimeError):
    """A data file is missing, altered, unreadable or cannot be fetched; the message says what to do."""
