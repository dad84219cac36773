"""An embedded Ethereum-like chain with the real Uniswap V3 contracts, for tests and dry runs without a node.

`world` is the state, `evm` runs one message over it (pyrevm, or py-evm where pyrevm has no wheel), `chain` makes
blocks, forks and snapshots, `mempool` takes transactions by geth's rules, `rpc` and `server` speak JSON-RPC over HTTP
and websocket, `contracts` and `deploy` put Uniswap on it, `faults` makes it misbehave. docs/chain.md tells more.
"""
