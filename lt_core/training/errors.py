"""The error that every part of the training may raise."""


class TrainingError(RuntimeError):
    """A run that cannot start or go on."""
