"""``station doctor``: is this machine fit for a station? Looks, and changes nothing.

Each area has a module: facts that a thin probe gathers, and functions that judge them, which are pure. In order of flow:
findings.py (what is found), running.py (what of the station runs already, which is left alone), producers.py and links.py
(GenTL producers, cameras and their settings, networks and USB; camera_probe.py asks them, in a process of its own),
processor.py, memory.py, speed.py (parts per second, measured), disk.py and records.py (durability, permissions, database),
clock.py, network.py (ports, receivers, certificates), system.py (user, limits, kernel), examination.py (all of it).
"""
