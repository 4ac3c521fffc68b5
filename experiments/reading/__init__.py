"""From any table to aggregates, inside the engine in which the table lies."""
