"""The shapes of the JSON answers, which are also the OpenAPI schema.

Not for: deciding anything. Each model is made from a domain object by its `of`.
"""
