"""Scripts that make the arrays of numbers which the package ships."""
