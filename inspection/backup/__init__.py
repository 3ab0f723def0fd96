"""Backup and restore of a station: what it recorded, the images, the models, and what else it needs to go on.

In order of flow: ``manifest`` (what a backup says of itself), ``gently`` (work beside a running line), ``named`` (images and
models that a database names), ``postgresql`` (its own programs), ``making``, ``verifying``, ``restoring``.

A folder of backups holds ``images/`` and ``models/``, which all its backups share, as they are named by their content, and
``backups/<time>/`` for each backup.
"""
