"""Client actors forked from a preloaded process, so that hundreds of them fit one machine.

Ray starts a worker by running a command. Here the command is a small launcher (`launcher.py`) that hands its arguments,
environment and open files to the *nursery* (`nursery.py`): a process that has imported everything an actor needs
(`preload.py`) and forks. The fork becomes the worker; the launcher ends. `offer.py` says where this can work.
"""
