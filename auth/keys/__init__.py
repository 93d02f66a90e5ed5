"""The keys of the proxy's clients, and the budgets of those keys."""
