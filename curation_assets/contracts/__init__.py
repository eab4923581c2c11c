"""What components are declared with: columns and tables, sections of recipes, checks. Below everything else of this package."""
