"""What happens to a flow: one file, one class, one job. :mod:`cli.compose` puts them in their order."""
