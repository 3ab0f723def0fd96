"""Records: what was triggered, decided and commanded, kept by lot and serial.

In order of flow: ``tables`` (one per noun), ``database`` (engines), ``migrations`` (how a database gets the tables),
``queries`` (reads of inspections and lots), ``exports`` and ``lot_figures`` (of a whole lot, to be taken away), ``labels`` and
``stored_images`` (what is known of images), ``training_sets`` and ``training_runs`` (learning from them), ``gates``,
``deployments`` and ``shadows`` (which model decides), ``cursors`` (where a list goes on).
"""
