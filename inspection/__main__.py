"""``python -m inspection`` is the ``station`` command."""

from inspection.cli import app

if __name__ == "__main__":
    app()
