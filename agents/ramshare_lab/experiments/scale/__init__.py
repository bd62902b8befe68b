"""The manager and the broker at any size: real both, before simulated hosts in processes of their own.

Every simulated agent speaks by the product's bus (its messages, retained state, requests and replies), a lender's
ledger and offer are the product's own; there is no RAM file, no target and no volume behind them, and many share one
connection.
"""
