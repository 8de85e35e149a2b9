"""What a measured experiment leaves the project as: its files, a card of what they are, a program that runs them."""
