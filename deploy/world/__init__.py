"""A synthetic multilingual retail world for demos, tests and measurements."""

from deploy.world.conversations import Planted
from deploy.world.generate import DEFAULT_STORES, World, generate
from deploy.world.shop import Shop

__all__ = ["DEFAULT_STORES", "Planted", "Shop", "World", "generate"]
