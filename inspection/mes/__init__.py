"""What leaves the station for the MES.

``receiver`` says what an event and a receiver are, ``events`` reads what a receiver has not got yet, ``outbox`` delivers it,
``http_push`` is a receiver; ``secrets`` reads what both ends know.
"""
