"""Pages for the people who read readouts, look up customers and write policies. They ask operations as the API does."""
