"""Views told to people: the catalogue page, lineage, what changed, and a preview on real data."""
