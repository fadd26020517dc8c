"""Every tolerance of the suite, in one table with a reason each; nothing in a test loosens them.

All are relative to the largest entry of the expected tensor, or to one where that is smaller.
"""

# Two orders of the same float64 sums: rounding of 1e-16, times some thousand terms and an additive
# write that can grow by a few hundred per segment, stays below this by far; a wrong term does not.
EXACT = 1e-9

# float32 rounds to 6e-8; a softmax at temperature 14 magnifies that by about its temperature.
SINGLE = 1e-5

# bfloat16 rounds to 2e-3. A logit, at most the temperature of 20, is off by up to 0.06 as it is rounded,
# and by nearly as much for query and address, which are rounded before: so a slot's weight by 10 %. What
# is summed over tokens and segments is kept in float32, so no sum adds to it.
HALF = 0.1

# The bound on a slot's norm holds in exact arithmetic. Values, map, update and step each round by
# half a unit in the last place (6e-8 in float32, 2e-3 in bfloat16), some 2.5 such units a step if
# they add like random signs. A step also takes the share n / (n + kappa) of older errors away,
# a quarter in the worst case tested, so that errors add up to four steps' worth: ten units.
NORM_SLACK = {"float32": 10 * 6e-8, "bfloat16": 10 * 2e-3}
