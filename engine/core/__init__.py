"""The pure core: values and functions, with no clock and no I/O."""
