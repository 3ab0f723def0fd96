"""The pages that people look at, in the order of the bar.

In order of flow: ``feed`` (what the live page shows, read once for all who look), ``words`` (plain words for codes),
``markup`` (templates, which escape whatever they show), ``plain`` (pages that need no login), ``layout`` (what all others
share), ``live``, ``review``, ``lots``, ``parts``, ``inspections``, ``quality``, ``training``, ``models``, ``golden``, ``people``
(login, users, audit trail), ``settings``. Pages call the same queries as the REST API; what is interactive are custom elements
in ``static``, which use the REST API; NiceGUI carries the live page's changes to the browser.
"""
