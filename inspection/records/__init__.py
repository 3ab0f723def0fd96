"""Records: what was triggered, decided and commanded, kept by lot and serial.

In order of flow: ``tables`` (one per noun), ``database`` (engines), ``migrations`` (how a database gets the tables),
``queries`` (reads of inspections and lots), ``deployments`` (which model decides), ``cursors`` (where a list goes on).
"""
