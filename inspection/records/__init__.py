"""Records: what was triggered, decided and commanded, kept by lot and serial.

In order of flow: ``tables`` (one per noun), ``database`` (engines), ``migrations`` (how a database gets the tables), ``noted``
(beside the database), ``damage``, ``sqlite_copy``, ``numbers`` (that are not given out again), ``preparing`` and
``starting_check`` (before anybody writes),
``queries`` and ``search`` (reads of inspections and lots), ``exports`` and ``lot_figures`` (of a whole lot, to be taken away),
``quality`` (counts over a time), ``labels``, ``opinions``, ``defect_classes``, ``stored_images`` and
``unstored_images`` (what is known of images), ``review`` (what people look at next), ``challenges`` (golden parts fed through the
line), ``training_sets`` and ``training_runs`` (learning from them), ``model_scores``, ``comparisons``, ``gates``, ``deployments``
and ``shadows`` (which model decides), ``users``, ``sessions``, ``tokens`` and ``audit`` (who may do what, and did), ``cursors``
(where a list goes on).
"""
