"""labels → training set → model: the only importer of torch and anomalib.

In order of flow: layout.py, picture.py, masks.py, copies.py, findings.py, checking.py and deep_check.py (what is wrong with a
folder of images), dataset.py and importing.py (images of a folder), design.py, synthetic_defects.py and autopilot.py (which
recipe), torchvision_operators.py, backbone.py, reading.py and coreset.py (images → the patches that a memory bank keeps),
network.py, places.py, known_defects.py, calibration.py, claims.py and claims_report.py (patches → scores, thresholds, and what
they can claim), memory.py (what a model needs to be extended), export.py, train.py and extend.py (→ a model artifact), zoo/
(anomalib's other algorithms), suspects.py (labels that may be wrong), perform.py and trainer.py (training runs of a station),
evaluate.py, experiment.py, metrics.py, pixel_metrics.py, charts.py and report.py (how good a model is), bench.py, peers.py and
speed.py (beside others), check_command.py and __main__.py (the command line), errors.py.
"""
