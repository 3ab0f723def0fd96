"""Benchmarks of what is around the network: the line, the records and the images. Those of the detector and its training are in
``training``, beside the peers that they are compared with.
"""
