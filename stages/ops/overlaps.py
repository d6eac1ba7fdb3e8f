"""How regions overlap, from memberships in atoms: the one place that makes intersections, IoU and containment.

With memberships M1 (N, A) and M2 (M, A) on common atoms of s pixels (A,), and K (A1, A2) the joint histogram of two
atom maps that have none in common:

    intersections   I = (M1 * s) M2^T,   or   M1 K M2^T
    IoU             I / ((a1 - I) + a2)  with areas a1 = M1 s, a2 = M2 s
    containment     I / a2: how much of j lies in i

All are exact: sums of whole numbers in a type that holds them, and one quotient. NumPy or torch throughout.
"""

from stages.ops import arrays
from stages.ops.arrays import Array
from stages.ops.partition import bands

# Integers up to 2^24 are exact in float32, so a product whose sums stay below is exact whatever its order.
EXACT_IN_FLOAT32 = 1 << 24


def exact(sizes: Array) -> Array:
    """Pixels of atoms (A,) as floating-point numbers, in the type that adds them up exactly and fastest.

    float32 where that holds the pixels of all atoms and products are made in full: torch may have been told to multiply
    float32 as TF32 or bfloat16, and GPUs may do so by themselves; else float64.
    """
    full = True
    if arrays.is_tensor(sizes):
        precision = arrays.library(sizes).get_float32_matmul_precision()
        full = sizes.device.type == "cpu" and precision == "highest"
    if full and int(sizes.sum()) < EXACT_IN_FLOAT32:  # asked of the host alone: a device would have to be waited for
        return arrays.as_float32(sizes)
    return arrays.as_float64(sizes)


def product(left: Array, right: Array) -> Array:
    """Matrix product in the operands' own precision; autocast would round counts to bfloat16."""
    if arrays.is_tensor(left):
        with arrays.library(left).autocast(left.device.type, enabled=False):
            return left @ right
    return left @ right


def iou(intersections: Array, areas: Array, others: Array) -> Array:
    """Intersection over union (N, M) of (N, M) intersections and areas (N,) and (M,), in the intersections' type.

    0 of two empty regions. (a - I) + b stays within the image, where a + b could leave float32's exact integers.
    """
    union = (arrays.like(areas, intersections)[:, None] - intersections) + arrays.like(others, intersections)
    return intersections / union.clip(min=1)


def containment(intersections: Array, areas: Array) -> Array:
    """|i and j| / |j|, (N, M), of (N, M) intersections and areas (M,) of the j; 0 where j is empty."""
    return intersections / arrays.like(areas, intersections).clip(min=1)


def joint_histogram(atoms: Array, count: int, others: Array, other_count: int) -> Array:
    """Pixels (count, other_count) float64 of each pair of atoms of two maps (H, W) of one image."""
    pixels: Array = 0
    for rows in bands(*atoms.shape):
        joint = arrays.as_int64(atoms[rows]).reshape(-1) * other_count + arrays.as_int64(others[rows]).reshape(-1)
        pixels = pixels + arrays.library(joint).bincount(joint, minlength=count * other_count)
    return arrays.as_float64(pixels.reshape(count, other_count))
