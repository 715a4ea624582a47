"""Where jobs run: an engine takes an order and answers with a placement, which has the outcome in the end."""
