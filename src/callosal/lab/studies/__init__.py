"""What is run and what it is held against: recipes, the runner, the claims."""
