"""The certificate authority that wrapped programs trust, and the names that it may sign for."""
