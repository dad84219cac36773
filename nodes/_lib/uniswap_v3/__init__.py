"""Uniswap V3 in exact integers: the deployed contracts' arithmetic, step by step and rounding by rounding.

Everything here counts in raw units of token0 and token1, as the contracts do; there is no base and no quote below this
folder. Names are the contracts' own, in Python's spelling. What reverts there raises `Revert` here, with its reason.
Checked against numbers that the contracts' own bytecode produced (tests/unit/nodes/uniswap_v3).
"""
