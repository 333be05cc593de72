"""How fast vsal is on this machine: networks with a window against the plain window, and every stage of a prediction.

``timing`` and ``machine`` import neither NumPy nor torch, so that a script may still choose their threads.
"""
