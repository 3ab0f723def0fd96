"""Light → frame.

In order of flow: frame.py (pixels and pixel formats), camera.py (what the station asks of a camera), genicam.py (cameras behind
a GenTL producer), sequence.py (do ids and counts advance together?), ring.py (shared memory), messages.py and bus.py (what is
said to other processes), beat.py (that a process gets on), process.py (the camera process), simulator/ (a producer of ours and
the scenes it shows).
"""
