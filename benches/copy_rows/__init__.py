"""The rows of benches/copies.py: each module but `row` has a docstring that is its title, and `rows(quick)`."""
