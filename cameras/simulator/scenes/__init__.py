"""What the simulated camera looks at: a rendered product, or a folder of photographs.

In order of flow: layers.py (what all parts of the product share), marking.py (serial), defects.py, part.py (one part →
one image), dataset.py (many images → a folder in the MVTec-AD layout), folder.py (such a folder → images).
"""

from cameras.simulator.scenes.dataset import write_dataset
from cameras.simulator.scenes.defects import DEFECTS
from cameras.simulator.scenes.errors import SceneError
from cameras.simulator.scenes.folder import Photo, PhotoSet, load_folder, read_pixels, resize_to
from cameras.simulator.scenes.part import Scene, render

__all__ = [
    "DEFECTS",
    "Photo",
    "PhotoSet",
    "Scene",
    "SceneError",
    "load_folder",
    "read_pixels",
    "render",
    "resize_to",
    "write_dataset",
]
