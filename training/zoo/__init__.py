"""anomalib's image models as models of the station: the table of algorithms, pretrained weights, fitting, and the adapter.

``algorithms`` says which there are, ``weights`` where a backbone's weights come from, ``fitting`` runs anomalib's own
training, ``adapter`` makes the result a network with the outputs that the detector reads, ``train`` stores it as an artifact.
"""

from training import backbone as _backbone  # noqa: F401  (before all else here: it makes torchvision importable)
