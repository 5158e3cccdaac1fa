from fake_openai import server

__all__ = ["server"]
