"""Loaded once by the fork server: all that a ClientApp needs, out of the garbage collector's way.

Importing this module is its work; nothing else imports it.
"""

import gc

import httpcore  # noqa: F401 - httpx loads it with the first client

from store_node.federation import client_app, task  # noqa: F401

# Objects made here are never garbage; unfrozen, every fork's collector would touch and copy them.
gc.collect()
gc.freeze()
