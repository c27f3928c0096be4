"""The server: a page and a REST interface over a gallery, safe by default."""
