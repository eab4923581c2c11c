"""For whoever is called when something does not go on: what is wrong here, numbers for a monitoring system, and notices."""
