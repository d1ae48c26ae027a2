"""Shapes for annotations: jaxtyping's names if it is loaded, plain arrays otherwise.

Shapes document the code, and a test checks them (pytest's `--jaxtyping-packages` loads jaxtyping
first). The LiteRT engine does without the import, which takes 50 ms and 4 MB.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import Int16 as Int16
    from jaxtyping import UInt64 as UInt64
else:

    class Float:
        """`Float[np.ndarray, "t d"]` is `np.ndarray`."""

        def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
            return item[0]

    Int = Int16 = UInt64 = Float
