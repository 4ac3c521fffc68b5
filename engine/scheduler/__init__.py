"""Jobs at their times, started by one process of all: APScheduler is known here alone."""
