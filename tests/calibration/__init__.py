"""Whether intervals are wrong as rarely as they say, by simulating what they are made for.

A case draws the sums that an estimator sees, from a law that is known exactly, calls the estimator as a readout does,
and counts how often the truth lay outside. `make calibrate` takes 10,000 simulations a case and writes
`docs/statistics.md`; `make test` has a smaller run, and analyses that are wrong, which the same checks must catch.
Seeds are fixed.
"""
