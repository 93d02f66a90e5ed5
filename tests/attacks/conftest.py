"""A cloud and a home, as the end-to-end tests have them."""

from tests.end_to_end.conftest import cloud, home, the_cloud

__all__ = ["cloud", "home", "the_cloud"]
