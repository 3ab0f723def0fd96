"""Simulated cameras behind the same GenTL interface as real ones.

``simcam.cti`` is a GenTL producer in C (`build_hook.py` compiles it at installation). It lists one camera for each
sub-directory of ``$STATION_SIMULATOR`` that `control.SimulatedCamera` made; the directory's name is the serial number.
The same class is the line around the camera: it shows scenes, gives trigger edges, pulls the plug and injects faults.

A camera's directory holds two files:

``control``
    shared memory: 32 KiB of 64-bit words (`control.h`), then 32 scene slots of width × height × 3 bytes (sparse: slots
    are used from the first, a slot that was never needed takes no disk). ``show`` writes a slot that nobody looks at
    and then makes it the current one; ``edge`` appends (time stamp, current slot) to a ring of 1024 edges. The
    producer exposes the slot of the edge however late its thread is, and until it has, nothing overwrites that slot.
``wake``
    a FIFO on which the producer's thread sleeps; a byte in it says that something changed.

The files of C: ``system.c`` which cameras there are, ``device.c`` opening and losing one, ``registers.c`` its GenICam
features (``simcam.xml``), ``stream.c`` and ``buffers.c`` the data stream, ``sensor.c`` triggers, exposures and faults,
``image.c`` scene to pixels, ``info.c`` and ``crc32.c`` helpers.

What is simulated: free run, software and line triggers, missed triggers, exposure and gain, region of interest,
Mono8/Mono12/BayerRG8/RGB8, chunks, a counter of trigger edges, user outputs, loss of the camera and of frames. Opening
a camera loads its default settings: 30 frames/s, 1000 µs, 0 dB, all chunks enabled but ChunkModeActive off. Frame ids and
the counter start at 1 after AcquisitionStart. Brightness follows exposure and gain: 1000 µs at 0 dB, 100 µs at 20 dB and
10 µs at 40 dB give the scene unchanged.
"""

from pathlib import Path
from typing import Final

PRODUCER: Final = Path(__file__).with_name("simcam.cti")
"""The compiled producer. If it is missing, ``python cameras/simulator/build_hook.py`` compiles it."""
