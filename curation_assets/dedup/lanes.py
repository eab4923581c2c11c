"""A hash compared with several at once: vector instructions where the processor has them, made from the same code where it has not.

What belongs here: one step of a comparison. What does not: which hashes are compared (`join`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES: Final = 16
"""Hashes that are compared at once. Arrays of hashes must go on for so many beyond those in question, whatever is there."""

LINE: Final = 8
"""Hashes of a line of the processor's cache."""

_AT: Final = ir.IntType(32)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    """The value in each lane."""
    nothing = ir.Constant(ir.VectorType(ir.IntType(64), lanes), ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(_AT, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_AT, lanes), [0] * lanes))


def _mask(lanes: int) -> Callable[[Any, Any, Any, Sequence[Any]], Any]:
    """Of the lanes that lie within a distance of any of some values. Arguments: array, place, values, distance."""
    words = ir.VectorType(ir.IntType(64), lanes)

    def code(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        held = builder.load(builder.bitcast(builder.gep(array.data, [args[1]]), words.as_pointer()), align=8)
        count = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(words, [words]), f"llvm.ctpop.v{lanes}i64"
        )
        values = cgutils.unpack_tuple(builder, args[2])
        apart = [builder.call(count, [builder.xor(held, _splat(builder, value, lanes))]) for value in values]
        least = apart[0]
        for other in apart[1:]:
            least = builder.select(builder.icmp_unsigned("<", other, least), other, least)
        near = builder.icmp_unsigned("<=", least, _splat(builder, args[-1], lanes))
        return builder.zext(builder.bitcast(near, ir.IntType(lanes)), ir.IntType(64))

    return code


def _near_any(typing_context: Any, hashes: Any, at: Any, values: Any, distance: Any) -> Any:
    """A bit for each of the `LANES` hashes from a place on: whether it lies within the distance of any of some values (a tuple of uint64)."""
    return types.uint64(hashes, types.uint64, values, types.uint64), _mask(LANES)


def _near_in_line(typing_context: Any, hashes: Any, at: Any, values: Any, distance: Any) -> Any:
    """The same of the `LINE` hashes of a line."""
    return types.uint64(hashes, types.uint64, values, types.uint64), _mask(LINE)


near_any: Any = intrinsic(_near_any)
near_in_line: Any = intrinsic(_near_in_line)
