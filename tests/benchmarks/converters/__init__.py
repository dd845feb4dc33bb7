"""Turn public data sets into a federation's ``--data`` folder; rows stay outside the repository.

    python -m tests.benchmarks.converters OUT [--sets tau eshop ...]

writes ``OUT/<store>/`` and the gate set ``OUT/hq/`` in the layout of :mod:`deploy.world`. Who the
"customer" (the protected unit) is differs by set and is said in each converter and in the store's
line of ``OUT/README.md``.
"""

from tests.benchmarks.converters.federation import SETS, convert_all

__all__ = ["SETS", "convert_all"]
