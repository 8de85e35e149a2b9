"""A measured experiment as a folder to hand on: its files, a card of what they are, a program that runs them."""
