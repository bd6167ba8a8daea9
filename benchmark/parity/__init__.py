"""Published results, repeated by their own protocol and judged."""
