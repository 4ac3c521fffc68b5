"""Whether readouts of the service are right about a company whose truth is known: a seed a company, each played whole.

Customers are put, asked about, sent to and heard from through the operations; readouts come from PostgreSQL as in any
deployment. What they say is held against the same people with the same luck, lived by arithmetic under each variant.
"""
