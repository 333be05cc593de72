"""What this machine can do, what is missing, and what to do about it: ``vsal doctor``.

The modules import nothing that may be broken before the check that is about it.
"""
