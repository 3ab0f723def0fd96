"""Errors of the training package: one root, and each message says what to do."""


class TrainingError(Exception):
    """The model could not be trained."""


class UnreadableImage(TrainingError):
    """An image file is missing, truncated, damaged or holds pixels that the station does not read."""


class ParityError(TrainingError):
    """The exported network does not give the scores of the trained one."""
