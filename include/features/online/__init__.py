"""The online engine: partial aggregates of batches, merged with events that streamed in since.

`store` is the port, with adapters in `include.stores`; `stage` brings a store to where the lake is.
The rest needs no database. `layout` says what is kept of an event, `records` reads it from events,
`folding` adds records up, `codec` makes them bytes and back, `reductions` makes features of them.
"""
