"""The PLC's side of the line: Modbus TCP in front of the bus.

In order of flow: registers.py and codes.py (what the PLC reads and writes), deadline.py (until when an accept is of use),
handshake.py with parts.py, results.py and confirmations.py (what the bits do; pure), server.py (Modbus TCP), process.py (the
process ``plc``), conveyor.py (a simulated PLC with its conveyor).
"""
