"""Compiled loops on plain arrays and integers; they know nothing of the model above them."""
