"""The error of the scenes package."""

from cameras.errors import CameraError


class SceneError(CameraError):
    """The scene cannot be shown: the request is out of range, or the folder or image is not as expected."""
