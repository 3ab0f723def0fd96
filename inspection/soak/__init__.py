"""``station soak``: the real station for hours, with faults from a seeded plan, while everything that must hold is checked.

In order of flow: scenes.py (parts that can be told apart), receiver.py (an MES that also fails), station.py (the processes and
what is around them), injectors.py and learning.py (how each fault is made and undone), catalogue.py (the faults), plan.py (which
of them when), lots.py (lots opened, filled and closed), checks.py (what must hold), recovery.py (what each fault cost),
memory.py, run.py (all of it together), report.py, page.py and command.py.
"""
