"""Provide liquidity on a recorded price path: mint, burn and collect with a delay, earn fees pro rata, pay gas."""

from __future__ import annotations

from decimal import Decimal

from engine import NS_PER_S, In, Out, param
from engine import state as kept
from nodes._lib.kill_switch import Stoppable
from nodes._lib.pool_position import (
    FEE_UNIT,
    Position,
    diluted,
    fee_of,
    liquidity_for,
    open_position,
    sqrt_ratio_at_tick,
)
from nodes._lib.ticks import TICK_SPACING, Orientation
from nodes.messages import GateVerdict, LpCommand, LpPosition, LpState, PoolState

REMEMBERED_COMMANDS = 1_000


class SimulatedLp(Stoppable):
    """Hold positions on the recorded price path of a pool, and move them when told to.

    Our liquidity does not move the price. Of each swap's fee it is paid what its own liquidity earns on the way
    travelled inside its range, less the protocol's part, thinned by L/(L + l) because the same swap would have moved
    the price less; of a bar of many swaps, the bar's fee × share of the bar's ticks in range × l/(L + l). All amounts
    are integers, rounded against us.

    A rebalance burns and collects everything and, at the price that holds `confirm_delay_s` after the command, mints
    base in [price, upper] and quote in [lower, price] with all of the wallet. Each command id is acted on once; a
    command that comes while another is in flight is refused. So is every command while the run's kill switch is thrown;
    one that is in flight then is carried out, as a transaction that was sent cannot be called back.
    """

    simulated = "positions on a recorded price path stand in for positions on chain; no transaction is sent"

    command = In(LpCommand, doc="What to do, once per id; passed by a risk gate.")
    pool = In(PoolState, policy="block", refuses=("conflate", "drop_oldest"), doc="The path: every swap of it.")
    verdict = Out(GateVerdict, optional=True, doc="Each command that was refused, and why.")

    fee: int = param(enum=(100, 500, 3000, 10000), unit="hundredths of a bip", doc="Fee of the pool.")
    quote_is_token0: bool = param(doc="Whether the pool's token0 is the quote (USDC/WETH on Ethereum: true).")
    base_decimals: int = param(18, minimum=0, maximum=36, unit="1", doc="Decimals of the base token.")
    quote_decimals: int = param(6, minimum=0, maximum=36, unit="1", doc="Decimals of the quote token.")
    base: Decimal = param(minimum=0, unit="base", doc="Base in the wallet at the start.")
    quote: Decimal = param(minimum=0, unit="quote", doc="Quote in the wallet at the start.")
    native: Decimal = param(Decimal("0.5"), minimum=0, unit="base", doc="Native coin for gas at the start, as base.")
    confirm_delay_s: float = param(12.0, unit="s", minimum=0, doc="Time from a command to its block.")
    swap: bool = param(False, doc="Whether a rebalance first swaps to equal values of base and quote.")
    swap_slippage_bps: float = param(1.0, unit="bps", minimum=0, doc="Loss of such a swap beside the pool's fee.")
    gas_price_gwei: Decimal = param(
        Decimal(20), unit="gwei", minimum=0, doc="Price of gas, in the chain's native coin."
    )
    gas_coin_in_base: Decimal = param(
        Decimal(1), exclusiveMinimum=0, unit="base", doc="Base per native coin; 1 where base is the native coin."
    )
    report_s: float = param(
        0.0, unit="s", minimum=0, doc="Time that fees alone may wait to be told; 0: told at each block."
    )
    gas_mint: int = param(450_000, minimum=0, unit="gas", doc="Gas of minting one position.")
    gas_burn: int = param(230_000, minimum=0, unit="gas", doc="Gas of burning and collecting one position.")
    gas_swap: int = param(130_000, minimum=0, unit="gas", doc="Gas of one swap.")

    positions: list[Position] = kept(factory=list, doc="Open positions.")
    wallet_base: int = kept(0, doc="Base in the wallet, smallest unit.")
    wallet_quote: int = kept(0, doc="Quote in the wallet, smallest unit.")
    native_base: int = kept(0, doc="Native coin in the wallet, as base in its smallest unit.")
    fees_base: int = kept(0, doc="Fees earned in base since the start.")
    fees_quote: int = kept(0, doc="Fees earned in quote since the start.")
    gas_base: int = kept(0, doc="Gas paid since the start.")
    swap_base: int = kept(0, doc="Base received from own swaps since the start.")
    swap_quote: int = kept(0, doc="Quote received from own swaps since the start.")
    refused: int = kept(0, doc="Commands refused since the start.")
    minted: int = kept(0, doc="Positions minted since the start; the next one's id.")
    funded: bool = kept(False, doc="Whether the wallet of the start has been handed out.")
    pending: LpCommand | None = kept(None, doc="The command in flight.")
    confirmed: str = kept("", doc="Id of the last command that is done.")
    acted_on: list[str] = kept(factory=list, doc="Ids of the last commands that were taken.")
    seen: PoolState | None = kept(None, doc="The last state of the pool.")
    sent_price: int = kept(0, doc="Square-root price of the state sent last.")
    sent_ns: int = kept(0, doc="When it was sent.")
    earned: bool = kept(False, doc="Whether fees have come in since then.")

    state = Out(LpState, doc="All that is held: at each block's end when the price moved, and after each command.")

    def start(self) -> None:
        self._orientation = Orientation(
            self.base_decimals, self.quote_decimals, self.quote_is_token0, TICK_SPACING[self.fee]
        )
        if not self.funded:
            self.funded = True
            self.wallet_base = int(self.base * 10**self.base_decimals)
            self.wallet_quote = int(self.quote * 10**self.quote_decimals)
            self.native_base = int(self.native * 10**self.base_decimals)
        # Messages of positions that have not changed since: of two around a price, one is out of range.
        self._told: list[LpPosition | None] = [None] * len(self.positions)
        self._report_ns = round(self.report_s * NS_PER_S)

    def resume(self) -> None:
        self._send()

    def stop(self) -> None:
        if self.earned and self.seen is not None and self.seen.block_closed:
            self._send()

    # --- along the path ---------------------------------------------------------------------------------------

    def on_pool(self, state: PoolState) -> None:
        before, self.seen = self.seen, state
        if self.positions and before is not None:
            if state.estimated:
                self._earn_of_bar(before.sqrt_price_x96, state)
            else:
                self._earn_of_swap(before.sqrt_price_x96, state)
        if state.block_closed:
            moved = state.sqrt_price_x96 != self.sent_price
            if moved or (self.earned and self.clock.now_ns - self.sent_ns >= self._report_ns):
                self._send()

    def _earn_of_swap(self, before: int, state: PoolState) -> None:
        after, others = state.sqrt_price_x96, state.liquidity
        # A falling contract price is paid for in token0.
        to_token0 = after < before
        in_quote = to_token0 == self.quote_is_token0
        if in_quote:
            paid, protocol = state.quote_in, state.protocol_fee_quote
        else:
            paid, protocol = state.base_in, state.protocol_fee_base
        # The pool's own fee on this swap bounds what all our positions may earn of it.
        left = paid * self.fee // FEE_UNIT
        for index, position in enumerate(self.positions):
            # The other of two positions around a price: out of range all the way.
            if (after <= position.lower_sqrt and before <= position.lower_sqrt) or (
                after >= position.upper_sqrt and before >= position.upper_sqrt
            ):
                continue
            gained0, gained1 = position.move_to(after)
            self._told[index] = None
            if others:
                whole = fee_of(gained0 if to_token0 else gained1, self.fee)
                earned = min(diluted(whole, position.liquidity, others), left)
                left -= earned
                if protocol:
                    earned -= earned // protocol
                if in_quote:
                    self._credit(position, 0, earned)
                else:
                    self._credit(position, earned, 0)

    def _earn_of_bar(self, before: int, state: PoolState) -> None:
        after, base_in, quote_in = state.sqrt_price_x96, state.base_in, state.quote_in
        moved = after != before
        if not (moved or base_in or quote_in):
            return
        others, low, high = state.liquidity, state.price_low, state.price_high
        for index, position in enumerate(self.positions):
            lower, upper = position.lower_price, position.upper_price
            if high < lower or low > upper:
                continue
            if moved:
                position.move_to(after)
            self._told[index] = None
            share = 1.0 if low >= lower and high <= upper else position.share_of_bar(low, high)
            own = position.liquidity
            part, pool = self.fee * own, FEE_UNIT * (others + own)
            base, quote = base_in * part // pool, quote_in * part // pool
            if share < 1:
                base, quote = int(base * share), int(quote * share)
            if state.protocol_fee_base:
                base -= base // state.protocol_fee_base
            if state.protocol_fee_quote:
                quote -= quote // state.protocol_fee_quote
            self._credit(position, base, quote)

    def _credit(self, position: Position, base: int, quote: int) -> None:
        if not (base or quote):
            return
        self.earned = True
        self.fees_base += base
        self.fees_quote += quote
        if self.quote_is_token0:
            base, quote = quote, base
        position.fees0 += base
        position.fees1 += quote

    # --- commands ---------------------------------------------------------------------------------------------

    def on_command(self, command: LpCommand) -> None:
        reason = self._refusal(command)
        if reason:
            self.refused += 1
            self.verdict(
                verdict_id=f"{self.id}-{self.refused}",
                request_id=command.command_id,
                event_time_ns=self.now_ns,
                passed=False,
                rule="executor",
                detail=reason,
            )
            return
        self.acted_on = [*self.acted_on[1 - REMEMBERED_COMMANDS :], command.command_id]
        self.pending = command
        self.after(self.confirm_delay_s, self.confirm)
        self._send()

    def _refusal(self, command: LpCommand) -> str:
        """Return why a command cannot be acted on, or an empty text."""
        if self.killed:
            return f"the kill switch is thrown: {self.killed}"
        if command.command_id in self.acted_on:
            return f"command {command.command_id} has been acted on before"
        if self.pending is not None:
            return f"command {self.pending.command_id} is in flight; one at a time"
        if self.seen is None:
            return "the pool has no price yet"
        if command.pool != self.seen.pool:
            return f"command is for pool {command.pool}, this executor sees {self.seen.pool}"
        gas = self._gas(len(self.positions), 0, 0)
        if command.action == "rebalance":
            if not 0 < command.lower_price < command.upper_price:
                return f"range {command.lower_price} to {command.upper_price} is empty or not positive"
            # Enough must stay behind to take the new positions out again.
            gas += self._gas(2, 2, int(self.swap))
        if gas > self.native_base:
            return f"gas of {gas} (smallest unit of base) is more than the {self.native_base} in the wallet"
        return ""

    def confirm(self) -> None:
        """Carry out the command in flight at the price that holds now."""
        command, seen = self.pending, self.seen
        assert command is not None and seen is not None
        self._burn_all()
        if command.action == "rebalance":
            if self.swap:
                self._swap_to_equal_values(seen.price)
            self._mint(seen, command.lower_price, command.upper_price)
        self.pending, self.confirmed = None, command.command_id
        self._send()

    def _burn_all(self) -> None:
        base, quote = self._all_in()
        self.wallet_base += base
        self.wallet_quote += quote
        self._pay(self._gas(len(self.positions), 0, 0))
        self.positions, self._told = [], []

    def _mint(self, seen: PoolState, lower_price: float, upper_price: float) -> None:
        """Put base above the price and quote below it; a side whose outer end the price has passed stays idle."""
        root = seen.sqrt_price_x96
        sides: list[tuple[tuple[int, int], int, int]] = []
        if seen.price < upper_price:
            sides.append((self._orientation.base_only_ticks(seen.tick, upper_price), self.wallet_base, 0))
        if seen.price > lower_price:
            sides.append((self._orientation.quote_only_ticks(seen.tick, lower_price), 0, self.wallet_quote))
        minted: list[Position] = []
        for ticks, base, quote in sides:
            ends = sqrt_ratio_at_tick(ticks[0]), sqrt_ratio_at_tick(ticks[1])
            liquidity = liquidity_for(root, *ends, *self._in_order(base, quote))
            if liquidity:
                number = str(self.minted + len(minted) + 1)
                minted.append(open_position(self._orientation, number, ticks, liquidity, root))
        for position in minted:
            base, quote = self._in_order(*position.cost(root))
            self.wallet_base -= base
            self.wallet_quote -= quote
        self.positions, self._told = minted, [None] * len(minted)
        self.minted += len(minted)
        self._pay(self._gas(0, len(minted), 0))

    def _swap_to_equal_values(self, price: float) -> None:
        change = self._swap_size(price, self.wallet_base, self.wallet_quote)
        unit = price * 10.0 ** (self.quote_decimals - self.base_decimals)
        kept_part = (1 - self.fee / FEE_UNIT) * (1 - self.swap_slippage_bps / 10_000)
        if change == 0:
            return
        if change < 0:
            base, quote = change, int(-change * unit * kept_part)
        else:
            quote = -min(self.wallet_quote, int(change * unit) + 1)
            base = int(-quote / unit * kept_part)
        self.wallet_base += base
        self.wallet_quote += quote
        self.swap_base += base
        self.swap_quote += quote
        self._pay(self._gas(0, 0, 1))

    def _swap_size(self, price: float, base: int, quote: int) -> int:
        """Return the change of base that makes base and quote worth the same, before fee and slippage."""
        unit = price * 10.0 ** (self.quote_decimals - self.base_decimals)
        return int((quote / unit - base) / 2)

    def _gas(self, burns: int, mints: int, swaps: int) -> int:
        """Return the gas of these actions as base, in its smallest unit."""
        units = burns * self.gas_burn + mints * self.gas_mint + swaps * self.gas_swap
        return int(units * self.gas_price_gwei * self.gas_coin_in_base * Decimal(10) ** (self.base_decimals - 9))

    def _pay(self, gas: int) -> None:
        self.gas_base += gas
        self.native_base -= gas

    def _in_order(self, one: int, other: int) -> tuple[int, int]:
        """Return (token0, token1) of (base, quote), or the other way round."""
        return (other, one) if self.quote_is_token0 else (one, other)

    # --- what is held -----------------------------------------------------------------------------------------

    def _send(self) -> None:
        seen = self.seen
        if seen is None:
            return
        self.sent_price, self.sent_ns, self.earned = seen.sqrt_price_x96, self.clock.now_ns, False
        pending, change = "", 0
        if self.pending is not None:
            pending = self.pending.command_id
            change = self._pending_change(seen)
        # By position: this is sent at each block, and naming 19 fields would double its cost.
        self.state.whole(
            LpState(
                seen.pool,
                self.clock.now_ns,
                seen.block,
                seen.price,
                self._as_messages(),
                self.wallet_base,
                self.wallet_quote,
                self.native_base,
                self.fees_base,
                self.fees_quote,
                self.gas_base,
                self.swap_base,
                self.swap_quote,
                self.base_decimals,
                self.quote_decimals,
                self.confirmed,
                pending,
                change,
                seen.block_closed,
            )
        )

    def _as_messages(self) -> tuple[LpPosition, ...]:
        told = self._told
        for index, message in enumerate(told):
            if message is None:
                told[index] = self._tell(self.positions[index])
        return tuple([message for message in told if message is not None])

    def _tell(self, position: Position) -> LpPosition:
        base, quote = position.amount0, position.amount1
        base_fees, quote_fees = position.fees0, position.fees1
        if self.quote_is_token0:
            base, quote, base_fees, quote_fees = quote, base, quote_fees, base_fees
        return LpPosition(
            position.position_id,
            position.lower_price,
            position.upper_price,
            position.lower_tick,
            position.upper_tick,
            position.liquidity,
            base,
            quote,
            base_fees,
            quote_fees,
        )

    def _pending_change(self, seen: PoolState) -> int:
        if not self.swap or self.pending is None or self.pending.action != "rebalance":
            return 0
        base, quote = self._all_in()
        return self._swap_size(seen.price, self.wallet_base + base, self.wallet_quote + quote)

    def _all_in(self) -> tuple[int, int]:
        """Return (base, quote) that burning and collecting all positions brings."""
        amount0 = sum(position.amount0 + position.fees0 for position in self.positions)
        amount1 = sum(position.amount1 + position.fees1 for position in self.positions)
        return self._in_order(amount0, amount1)
