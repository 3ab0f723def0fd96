"""Frame → verdict → record → label → MES.

In order of flow: domain.py (the nouns), messages.py (what crosses processes), lane.py and line.py (triggers, exposures,
outputs), pairing.py, preprocessing.py, artifact.py, detector.py, verdict.py and inspector.py (frame → verdict),
ledger.py, png.py, images.py, storer.py and recorder.py (verdict → record), rendering.py (stored images made viewable), records/
(tables, migrations, queries), commands.py (what people and the MES command), plc/ (the registers of the PLC and the handshake
with it), mes/ (what an MES or an auditor gets), opcua/ (the OPC UA server), training_set.py (what is learned from), gate.py
and deploying.py (which model decides), shadow.py (a challenger beside it), web/ (REST and pages), quality/ (what a model's
figures are worth). config.py, processes.py, supervisor.py, starting.py, cli.py and the other cli_*.py start it all; cell.py,
demo.py and summary.py are the demo, bench/ measures the line, the records and the images.
"""
