"""Pillow's antialiased bilinear resizing, written as an ONNX graph.

Images are resized in two passes, first along the rows and then along the columns, and rounded to 8
bits after each (:func:`~vireid.data.images.resized`). An output pixel is the mean of the input
pixels near it, with weights that fall off linearly with the distance of the centres; where an image
shrinks, the triangle is wide enough to use every pixel. For n pixels resized to m, in units of
1 / (2 n m), pixel x has in pixel y the weight

    a_yx = max(0, 2 max(n, m) - |(2x + 1) m - (2y + 1) n|)

Pillow's weights are fixed-point numbers, k_yx = round(2^22 a_yx / sum_x a_yx), and a pass is
p_y = (sum_x k_yx p_x + 2^21) >> 22.

The graph computes the same integers in float32, which every runtime supports and which represents
integers up to 2^24 exactly. So the division is done digit by digit, and k = 2048 high + low gives
two matrix products of smaller numbers. The result is bit-identical to Pillow's as long as no axis
shrinks to less than a 32nd and 2 n max(n, m) / m is below 2^20 (6,000 pixels to 72); beyond that,
pixels may differ by rounding. An image of the right size is not changed.

An image wider or higher than :data:`~vireid.data.images.MAX_SIDE` is refused, as everywhere else:
the weights would take gigabytes. ONNX has no assertion, so in onnxruntime a Reshape fails whose
name says why; in OpenVINO, which skips it, the graph's input has this limit.

The graph has no ``If`` to skip the two passes: OpenVINO 2026.4 sometimes gives wrong results after
one.
"""

from __future__ import annotations

from typing import Any

from vireid.data.images import MAX_SIDE
from vireid.features.runtimes import INPUT
from vireid.optional_packages import package

__all__ = ["PIXELS", "resize_graph"]

PIXELS = "pixels"
"""Name of the resized images: integers from 0 to 255, float32 ``[n, 3, h, w]``."""

_GRAPH = """
<ir_version: {ir_version}, opset_import: ["": {opset}, "vireid": 1]>
resize (uint8[n, H, W, 3] {input}) => (float[n, 3, {height}, {width}] {output})
<int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}},
 int64[1] from_1 = {{1}}, int64[1] to_3 = {{3}},
 int64 limit = {{{limit}}},
 int64 new_height = {{{height}}}, int64 new_width = {{{width}}}>
{{
    numbers = Cast <to = 1> ({input})
    given = Transpose <perm = [0, 3, 1, 2]> (numbers)
    size = Shape ({input})
    given_height = Gather <axis = 0> (size, one)
    given_width = Gather <axis = 0> (size, two)
    sides = Slice (size, from_1, to_3)
    longest = ReduceMax <keepdims = 1> (sides)
    excess = Sub (longest, limit)
    excess_or_0 = Max (excess, zero)
    elements = Add (excess_or_0, one)
    [sides_over_{limit}_pixels_are_refused] checked = Reshape (longest, elements)
    most = Squeeze (checked)
    height = Min (given_height, most)
    width = Min (given_width, most)
    down = vireid.Weights (height, new_height)
    right = vireid.Weights (width, new_width)
    across = Transpose <perm = [1, 0]> (right)
    row_sums = MatMul (given, across)
    narrow = vireid.Rounded <axis = 3> (row_sums)
    column_sums = MatMul (down, narrow)
    {output} = vireid.Rounded <axis = 2> (column_sums)
}}

<domain: "vireid", opset_import: ["": {opset}]>
Weights (n, m) => (both)
{{
    int_zero = Constant <value_int = 0> ()
    int_one = Constant <value_int = 1> ()
    axis = Constant <value_ints = [1]> ()
    one = Constant <value_float = 1.0> ()
    two = Constant <value_float = 2.0> ()
    four = Constant <value_float = 4.0> ()
    base = Constant <value_float = 16.0> ()
    half = Constant <value_float = 1024.0> ()
    whole = Constant <value_float = 2048.0> ()
    length = Cast <to = 1> (n)
    out = Cast <to = 1> (m)
    int_x = Range (int_zero, n, int_one)
    x = Cast <to = 1> (int_x)
    int_y = Range (int_zero, m, int_one)
    row_y = Cast <to = 1> (int_y)
    y = Unsqueeze (row_y, axis)
    x2 = Mul (x, two)
    x21 = Add (x2, one)
    x_place = Mul (x21, out)
    y2 = Mul (y, two)
    y21 = Add (y2, one)
    y_place = Mul (y21, length)
    offset = Sub (x_place, y_place)
    distance = Abs (offset)
    longer = Max (length, out)
    reach = Mul (longer, two)
    left = Sub (reach, distance)
    rest0 = Relu (left)
    total = ReduceSum <keepdims = 1> (rest0, axis)
    quotient0 = Sub (rest0, rest0)
    {digits}
    rounding = Add (quotient6, two)
    quarters = Div (rounding, four)
    weights = Floor (quarters)
    shifted = Add (weights, half)
    ratio = Div (shifted, whole)
    high = Floor (ratio)
    low_part = Mul (high, whole)
    low = Sub (weights, low_part)
    both = Concat <axis = 0> (high, low)
}}

<domain: "vireid", opset_import: ["": {opset}]>
Rounded <axis> (sums) => (pixels)
{{
    half = Constant <value_float = 1024.0> ()
    whole = Constant <value_float = 2048.0> ()
    high, low = Split <axis: int = @axis, num_outputs = 2> (sums)
    low_whole = Div (low, whole)
    carry = Floor (low_whole)
    sum = Add (high, carry)
    shifted = Add (sum, half)
    ratio = Div (shifted, whole)
    pixels = Floor (ratio)
}}
"""

# Six base-16 digits of a / sum, 24 bits: two more than the weights have. The quotient is rounded
# before the floor, but the remainder is exact and shows whether it is one too large or too small.
_DIGIT = """
    wider{0} = Mul (rest{0}, base)
    parts{0} = Div (wider{0}, total)
    guess{0} = Floor (parts{0})
    used{0} = Mul (guess{0}, total)
    left{0} = Sub (wider{0}, used{0})
    is_over{0} = GreaterOrEqual (left{0}, total)
    over{0} = Cast <to = 1> (is_over{0})
    is_under{0} = Less (left{0}, quotient0)
    under{0} = Cast <to = 1> (is_under{0})
    slip{0} = Sub (over{0}, under{0})
    back{0} = Mul (slip{0}, total)
    rest{1} = Sub (left{0}, back{0})
    digit{0} = Add (guess{0}, slip{0})
    higher{0} = Mul (quotient{0}, base)
    quotient{1} = Add (higher{0}, digit{0})
"""


def resize_graph(size: tuple[int, int], *, opset: int, ir_version: int) -> Any:
    """Resizing as a graph: uint8 RGB ``[n, H, W, 3]`` to integers, ``[n, 3, h, w]``.

    Args:
        size: h and w, in pixels.
        opset: Version of ONNX's operators, 18 or later.
        ir_version: Version of the ONNX format.

    Returns:
        An ``onnx.ModelProto``.
    """
    height, width = size
    text = _GRAPH.format(
        input=INPUT,
        output=PIXELS,
        height=height,
        width=width,
        limit=MAX_SIDE,
        opset=opset,
        ir_version=ir_version,
        digits="".join(_DIGIT.format(i, i + 1) for i in range(6)),
    )
    # Not every runtime supports model-local functions.
    return package("onnx.inliner").inline_local_functions(package("onnx.parser").parse_model(text))
