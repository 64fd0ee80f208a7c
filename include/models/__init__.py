"""Models: what fits, what predicts, why, and as which bytes it is kept; one family per file."""
