"""Errors of the cameras package: one root, and each message says what to do."""


class CameraError(Exception):
    """Root of all camera errors."""


class ProducerNotFound(CameraError):
    """The GenTL producer file does not exist or cannot be loaded."""


class CameraNotFound(CameraError):
    """No camera with the configured serial number is listed by the configured producer."""


class CameraLost(CameraError):
    """The camera stopped answering: unplugged, without power, or its network is gone."""


class FeatureError(CameraError):
    """A configured GenICam feature does not exist on this camera or refuses the value."""


class UnsupportedPixelFormat(CameraError):
    """The camera sends a pixel format that this station does not read."""


class RingError(CameraError):
    """The shared-memory ring is missing, has another layout, or a slot is not owned as expected."""
