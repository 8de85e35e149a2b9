"""Searches for mixed precision: sensitivities, exact and adaptive search, budgets, and what resumes them."""
