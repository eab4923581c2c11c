"""The rule language of recipes: its grammar, the columns that it names, and what may be wrong with a rule."""
