"""The server side of an algorithm: strategies and sampling."""
