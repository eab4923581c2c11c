"""What all tables share, without Dagster: what each is made from, how it stands, what is to be done next, and the making itself."""
