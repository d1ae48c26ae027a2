"""Training and fine-tuning of models in the published format. Part of the checkout, not of the
installed package: each module is a command, `python -m training.NAME --help`."""

import sys
from importlib.util import find_spec

_missing = [name for name in ("flax", "jax", "optax") if find_spec(name) is None]
if _missing:  # one line, because every command would end in the same traceback
    _names = ", ".join(_missing)
    sys.exit(f'Error: training needs {_names}. Run in the checkout: pip install -e ".[train]"')
