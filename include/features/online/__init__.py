"""The online engine: partial aggregates in Postgres, merged with what streamed in since.

`layout` says what is kept of an event, `records` reads it from events, `folding` adds records up,
`codec` makes them bytes and back, `reductions` makes features of them. `store` is the way in.
"""
