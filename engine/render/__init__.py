"""What is shown to people: a readout as charts and as a page, and the page on which customers choose. It decides
nothing. Charts load SciPy and a JavaScript engine, so nothing is imported here: who shows no chart need not wait."""
