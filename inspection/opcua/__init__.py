"""The station as an OPC UA server: OPC 40100-1 Machine Vision, Inline profile.

In order of flow: security.py (certificates, users, who is trusted) and server.py (what asyncua leaves open), nodes.py (the
address space), health.py and recipes.py (what the station says of itself), results.py (inspections as results), state.py (the
state machine), jobs.py (what starting and stopping mean), methods.py (what clients may call), audited.py (the trace of it in the
audit trail), process.py (the main loop).
"""
