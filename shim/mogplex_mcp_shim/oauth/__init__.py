"""Signing in. Nothing here is imported until a sign-in, a refresh or a command about them needs it."""
