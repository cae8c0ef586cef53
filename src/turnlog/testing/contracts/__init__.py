"""The cases of the kit, one file for each promise or part of one. Numbers: 1 the methods, 2 sessions and their tree, 3.N promise N."""
