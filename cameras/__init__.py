"""Light → frame.

In order of flow: frame.py (pixels and pixel formats), camera.py (what the station asks of a camera), genicam.py (cameras
behind a GenTL producer), accept_output.py (a camera's output as the signal to accept), sequence.py (do ids and counts advance
together?), ring.py (shared memory), messages.py and bus.py (what is said to other processes), fault_kinds.py (what may go
wrong), beat.py (that a process gets on), errors.py, process.py (the camera process), simulator/ (a producer of ours and the
scenes it shows).
"""
