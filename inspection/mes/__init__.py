"""What leaves the station for the MES.

``receiver`` says what an event and a receiver are, ``events`` reads what a receiver has not got yet, ``outbox`` delivers it.
``http_push`` is one receiver; ``mqtt`` is another: ``sparkplug`` encodes payloads, ``sparkplug_metrics`` turns events into
metrics, ``sparkplug_session`` is one connection to a broker. ``secrets`` reads what both ends know.
"""
