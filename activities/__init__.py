"""Side effects: the protocol each needs, thin activities, the error boundary."""
