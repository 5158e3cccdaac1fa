"""Custom actions of the Northline Rail example: stand-ins for the company's systems.

Everything is made up and deterministic: no clock, no chance, no network. Any station and any day are welcome, so that a
conversation runs the same way when its values are exchanged for others.
"""
