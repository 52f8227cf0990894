"""Functions from a learner to a learner."""
