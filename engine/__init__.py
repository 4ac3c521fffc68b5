"""The contact-budget engine: may I send this message to this customer now?"""
