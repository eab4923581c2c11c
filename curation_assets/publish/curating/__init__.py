"""Which candidates a subset takes: the tables and columns that its rules read, the rules judged, the criterion applied."""
