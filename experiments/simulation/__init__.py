"""Customers with a known truth: their lives, and the tables that a company would have of them."""
