"""The pages that people look at: live, lots, one lot, one inspection.

In order of flow: ``feed`` (what the live page shows, read once for all who look), ``words`` (plain words for codes),
``markup`` (templates, which escape whatever they show), ``layout`` (what all pages share), ``live``, ``lots``,
``inspections``. Pages call the same queries as the REST API; NiceGUI carries changes to the browser.
"""
