"""Every tolerance of the suite, in one table with a reason each; nothing in a test loosens them.

All are relative to the largest entry of the expected tensor, or to one where that is smaller.
"""

# Two orders of the same float64 sums: rounding of 1e-16, times some thousand terms and an additive
# write that can grow by a few hundred per segment, stays below this by far; a wrong term does not.
EXACT = 1e-9

# float32 rounds to 6e-8; a softmax at temperature 14 magnifies that by about its temperature.
SINGLE = 1e-5

# The bound on a slot's norm holds in exact arithmetic. Values, maps and the step each round by half a
# unit in the last place (6e-8 in float32, 2e-3 in bfloat16). A step shrinks the errors made before it
# by n / (n + kappa), so they add up to (n + kappa) / n roundings; ten covers slots used as in the test.
NORM_SLACK = {"float32": 10 * 6e-8, "bfloat16": 10 * 2e-3}
