"""The catalogue: one optimisation a file. Dropping a file in gives a toggle, a row in every table, and its laws."""
