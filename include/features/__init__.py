"""Features: what is known about an entity at an instant, declared once and computed by any engine.

`declarations` is the language, `in_memory` the reference engine, `vectorized` the fast one,
`catalogue` the services that ship. What the words mean is fixed by `tests/spec`.
"""
