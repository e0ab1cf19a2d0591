"""Evidence: what a proof tried and found, as one signed document that anybody can verify, and as a page for people.

document = compose(...)                       # isolation.evidence.compose
content = sign(document, key)                 # isolation.evidence.signing: the bytes of the file
problems = verify(content, keys).problems     # isolation.evidence.verify: empty if it can be relied on
page = render(...)                            # isolation.evidence.page: HTML
"""
