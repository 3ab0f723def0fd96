"""What an MES or an auditor takes away of a lot.

In order of flow: ``tabular`` (its inspections as CSV and Parquet), ``b2mml`` (as an operations performance of ISA-95),
``certified`` (what its certificate says), ``paper`` and ``certificate`` (the certificate as PDF).
"""
