"""Frame → verdict → record → label → MES.

In order of flow: domain/ (the nouns), messages.py and message_schema.py (what crosses processes), lane.py, open_triggers.py,
lookups.py and line.py (triggers, exposures, outputs), rings.py, pairing.py, preprocessing.py, artifact.py, optics.py and
optics_watch.py (how a frame was taken), detector.py, codes.py, verdict.py and inspector.py (frame → verdict), ledger.py,
png.py, images.py, waiting_images.py, storer.py, tally.py, status.py and recorder.py (verdict → record), unrecorded.py (in the
place of a recorder that has no database), clock.py (was the clock set?), backup/ (made while the line runs, verified,
restored), retention.py, reserve.py, housekeeping.py and storage_forecast.py (room on the disk), rendering.py (stored images
made viewable), regions.py (what people mark on them), records/ (tables, migrations, queries), commands.py and
recorder_client.py (what people and the MES command), plc/ (the registers of the PLC and the handshake with it), mes/ (what an
MES or an auditor gets), opcua/ (the OPC UA server), image_files.py and training_set.py (what is learned from), gate.py and
deploying.py (which model decides), scoring.py, model_maps.py, progress.py, comparing.py and thresholds.py (models on stored
images, and with other thresholds), shadow.py (a challenger beside it), challenges.py and challenge_lock.py (golden parts fed
through the line), config_changes.py, config_history.py, dry_run.py and overview.py (the settings), passwords.py, secrets.py,
tls.py (the pages' certificate), web/ (REST and pages), quality/ (what figures are worth). logs.py, log_files.py, vitals.py,
config.py, scheduling.py, processes.py, supervisor.py, supervision.py, watchdog.py, memory.py, starting.py, doctor/ (is this
machine fit?), camera_list.py, errors.py, cli.py, figures.py and the other cli_*.py start it all; cell.py, demo.py and
summary.py are the demo, sbom.py lists what is installed, bench/ measures the line, the records, the images and the reviewing,
soak/ runs it all for hours with faults.
"""
