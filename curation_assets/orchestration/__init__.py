"""Dagster: assets, jobs, sensors, partitions and runs, made from the components and the engine. Nothing else imports it."""
