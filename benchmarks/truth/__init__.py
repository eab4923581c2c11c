"""How true the stages are on footage that nobody chose: `python -m benchmarks.truth`, one module for each area that is measured."""
