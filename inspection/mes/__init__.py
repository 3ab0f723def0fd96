"""What leaves the station for the MES.

As it happens: ``receiver`` says what an event and a receiver are, ``events`` reads what a receiver has not got yet, ``outbox``
delivers it. ``http_push`` is one receiver, ``mqtt`` another: ``sparkplug`` encodes payloads, ``sparkplug_metrics`` turns events
into metrics, ``sparkplug_session`` is one connection to a broker.

When asked for, of one lot: ``tabular`` (its inspections as CSV and Parquet), ``b2mml`` (as an operations performance of ISA-95),
``certified`` (what its certificate says), ``paper`` and ``certificate`` (the certificate as PDF).
"""
