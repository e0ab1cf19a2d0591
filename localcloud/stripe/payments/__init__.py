"""Money: what is asked of a card, what it gave, and what goes back. The rules, without HTTP."""
